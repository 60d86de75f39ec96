//! What this machine and this build have for making and running bundles, and what each lack costs.
//!
//! Nothing is changed and nothing fails: a lack is an answer. Programs are looked for where the commands that use them do.

use std::env;
use std::path::PathBuf;

use serde::Serialize;
use slmc_runtime_stub::platform::vulkan;

use crate::link::Linker;
use crate::link::find::in_path;
use crate::package::Javac;
use crate::stub::{self, Runtime};
use crate::target;

/// One thing that may be there or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is.
    pub name: String,
    /// What was found; `None` if nothing.
    pub found: Option<String>,
    /// What does not work without it.
    pub cost: String,
    /// How to get it.
    pub cure: String,
}

impl Check {
    fn new(name: impl Into<String>, found: Option<String>, cost: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { name: name.into(), found, cost: cost.into(), cure: cure.into() }
    }
}

/// Systems for which there is a runtime, with the names of targets that need it.
const SYSTEMS: [(&str, &str); 6] = [
    ("x86_64-unknown-linux-gnu", "x86_64-*, vulkan-*"),
    ("aarch64-unknown-linux-gnu", "linux-arm64*, raspberry-pi5"),
    ("aarch64-linux-android", "android-*"),
    ("aarch64-apple-ios", "iphone15-*"),
    ("aarch64-apple-ios-sim", "iphone-simulator"),
    ("aarch64-apple-darwin", "mac-m1*"),
];

/// Looks at everything.
pub fn examine() -> Vec<Check> {
    let mut checks = vec![processor(), linker()];
    checks.extend(generators());
    checks.extend(SYSTEMS.map(|(triple, targets)| runtime(triple, targets)));
    checks.push(vulkan_device());
    checks.push(Check::new(
        "qemu-aarch64",
        program("qemu-aarch64"),
        "bundles for arm64 Linux and Android cannot be tried on this machine; they compile all the same",
        "Debian, Ubuntu: apt-get install qemu-user libc6:arm64 (dpkg --add-architecture arm64 before)",
    ));
    checks.push(Check::new(
        "aarch64-linux-gnu-gcc",
        program("aarch64-linux-gnu-gcc"),
        "C programs for arm64 Linux cannot be built here, and the tests of arm64 bundles skip themselves",
        "Debian, Ubuntu: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    ));
    checks.push(Check::new(
        "Java compiler",
        Javac::find().map(|javac| javac.program.display().to_string()),
        "slmc package --format aar carries sources instead of class files",
        "Debian, Ubuntu: apt-get install default-jdk-headless; elsewhere any JDK, named by JAVA_HOME",
    ));
    checks.push(Check::new(
        "Android NDK",
        ndk(),
        "nothing for slmc, which needs none; C and C++ code of an app that calls slm.h cannot be built here",
        "install it with Android Studio and set ANDROID_NDK_HOME",
    ));
    checks.push(Check::new(
        "Xcode",
        program("xcodebuild"),
        "nothing for slmc, which needs none; apps that use an XCFramework cannot be built here",
        "on a Mac: install Xcode from the App Store",
    ));
    checks
}

fn processor() -> Check {
    let found = target::host().map(|target| format!("{} ({}, {} cores)", target.name, target.features.join(", "), target.cores));
    let cost = match &found {
        Ok(_) => "no bundle for CPUs runs on this machine".to_owned(),
        Err(e) => format!("no bundle for CPUs runs on this machine: {e}"),
    };
    Check::new("processor", found.ok(), cost, "compile for another machine: slmc targets lists the kinds")
}

fn linker() -> Check {
    let found = Linker::find(None).and_then(|linker| Ok(format!("{} ({})", linker.program.display(), linker.version()?)));
    let (cost, cure) = ("no bundle for Linux or Android can be compiled; those for Apple's systems need no linker", "apt-get install lld");
    let words = found.as_ref().err().map_or_else(String::new, |e| format!(" ({e})"));
    Check::new("linker", found.ok(), format!("{cost}{words}"), format!("Debian, Ubuntu: {cure}; macOS: brew install lld; or name one with --linker"))
}

fn generators() -> Vec<Check> {
    let built: Vec<&str> = slmc_backends::all().iter().map(|backend| backend.name()).collect();
    let has = |name: &str| built.contains(&name).then(|| "in this build".to_owned());
    let mut checks = vec![
        Check::new(
            "LLVM code generator",
            has("llvm"),
            "CPU code is Cranelift's, which is slower; without that too, no bundle for CPUs can be compiled",
            "install LLVM 19 (Debian, Ubuntu: apt-get install llvm-19-dev) and build slmc with --features llvm",
        ),
        Check::new(
            "Cranelift code generator",
            has("cranelift"),
            "nothing where LLVM's is there, else no bundle for CPUs can be compiled",
            "build slmc with its default features",
        ),
        Check::new("naga code generator", has("naga"), "no bundle for GPUs can be compiled", "build slmc with its default features"),
    ];
    let reference = cfg!(feature = "reference").then(|| "in this build".to_owned());
    checks.push(Check::new(
        "reference executor",
        reference,
        "slmc check cannot compare a bundle with its checkpoint",
        "build slmc with --features reference",
    ));
    checks
}

fn runtime(triple: &str, targets: &str) -> Check {
    let gpu = if triple.contains("-apple-") { Runtime::Metal } else { Runtime::Vulkan };
    let kinds = [("CPU", Runtime::Cpu), (if gpu == Runtime::Metal { "Metal" } else { "Vulkan" }, gpu)];
    let found: Vec<String> = kinds
        .into_iter()
        .filter_map(|(name, kind)| stub::object(triple, kind).map(|object| format!("{name} {} KiB", object.len().div_ceil(1024))))
        .collect();
    let found = (found.len() == kinds.len()).then(|| found.join(", "));
    Check::new(
        format!("runtime {triple}"),
        found,
        format!("targets {targets}: no bundle for CPUs, and bundles for GPUs have no runtime"),
        format!(
            "rustup target add {triple}, or a Rust toolchain with library sources named by SLMC_STUB_RUSTC; then build slmc again, without SLMC_STUBS=host"
        ),
    )
}

fn vulkan_device() -> Check {
    let mut names = Vec::new();
    let outcome = vulkan::devices(None, |device| {
        let name = device.name.split(|&byte| byte == 0).next().unwrap_or_default();
        names.push(String::from_utf8_lossy(name).into_owned());
    });
    let found = outcome.is_ok().then(|| names.join("; ")).filter(|names| !names.is_empty());
    Check::new(
        "Vulkan device",
        found,
        "bundles for vulkan-* do not run on this machine; they compile all the same",
        "install the driver of the GPU; in software: apt-get install libvulkan1 mesa-vulkan-drivers",
    )
}

fn program(name: &str) -> Option<String> {
    in_path(name).map(|path| path.display().to_string())
}

/// The newest NDK that the environment or the SDK's folder names.
fn ndk() -> Option<String> {
    let named = ["ANDROID_NDK_HOME", "ANDROID_NDK_ROOT"].into_iter().filter_map(env::var_os).map(PathBuf::from).find(|path| path.is_dir());
    let in_sdk = || {
        let sdk = ["ANDROID_HOME", "ANDROID_SDK_ROOT"].into_iter().find_map(env::var_os)?;
        let entries = std::fs::read_dir(PathBuf::from(sdk).join("ndk")).ok()?;
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).max()
    };
    named.or_else(in_sdk).map(|path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lack_has_a_price_and_a_cure() {
        let checks = examine();
        for check in checks.iter().filter(|check| check.found.is_none()) {
            assert!(!check.cost.is_empty() && !check.cure.is_empty(), "{}", check.name);
        }
        assert!(checks.iter().any(|check| check.name == "naga code generator" && check.found.is_some() == cfg!(feature = "naga")));
    }

    #[test]
    fn the_systems_are_those_of_the_targets() {
        for target in slmc_ir::target::known::known() {
            assert!(SYSTEMS.iter().any(|(triple, _)| *triple == target.triple), "{}", target.triple);
        }
    }
}

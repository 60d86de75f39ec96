//! Bundles for Apple's systems: static libraries, looked at with LLVM's tools and linked with its linker.
//!
//! Nothing of them runs here; `arm64.rs` runs the same kernels as code for Linux.
#![cfg(all(feature = "llvm", unix))]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use slmc::bundle::{Bundle, Depth, STATIC_CODE};
use slmc::stub::{self, Runtime};
use slmc_tests::expected::fixture;
use slmc_tests::native::{Built, build};

/// Targets with their platform, as the linker names it, and the oldest system.
const TARGETS: [(&str, &str, &str); 5] = [
    ("iphone15-cpu", "ios", "15.0"),
    ("iphone15-metal", "ios", "15.0"),
    ("iphone-simulator", "ios-simulator", "15.0"),
    ("mac-m1", "macos", "13.0"),
    ("mac-m1-metal", "macos", "13.0"),
];

/// What the linker is told of libSystem: all that a bundle for a processor may take from outside.
const SYSTEM: &str = "__error abort bzero clock_gettime close fstat fsync getpid madvise memcmp memcpy memmove memset mmap munmap open \
    pthread_cond_broadcast pthread_cond_destroy pthread_cond_init pthread_cond_wait pthread_create pthread_join pthread_mutex_destroy \
    pthread_mutex_init pthread_mutex_lock pthread_mutex_unlock read rename strlen sysctlbyname unlink write";

/// And of libobjc and Metal.framework, for Metal.
const GPU: &str = "MTLCreateSystemDefaultDevice objc_autoreleasePoolPop objc_autoreleasePoolPush objc_getClass objc_msgSend objc_release \
    objc_retain sel_registerName";

/// Functions of `slm.h` that every library offers, among others.
const OFFERED: [&str; 4] = ["slm_open", "slm_generate", "slm_tokenize", "slm_close"];

/// Whether this build has the runtimes; says what to do if not.
fn has_runtimes() -> bool {
    let has = ["aarch64-apple-ios", "aarch64-apple-ios-sim", "aarch64-apple-darwin"].iter().all(|t| stub::object(t, Runtime::Metal).is_some());
    if !has {
        println!("skipped: this build has no runtime for Apple's systems; `slmc doctor` says how to get one");
    }
    has
}

/// A tool of LLVM 19.
fn tool(name: &str) -> Command {
    let folder = std::env::var_os("LLVM_SYS_191_PREFIX").map(|prefix| PathBuf::from(prefix).join("bin").join(name));
    Command::new(folder.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(format!("{name}-19"))))
}

fn output(command: &mut Command) -> String {
    let run = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(run.status.success(), "{command:?}: {}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).expect("UTF-8")
}

fn library(built: &Built) -> PathBuf {
    built.path().join(STATIC_CODE)
}

/// Links static libraries, all of them, into a dynamic one, against no more than what bundles may use.
fn link(libraries: &[PathBuf], platform: &str, least: &str, functions: &str) -> String {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut symbols: Vec<String> = functions.split_whitespace().map(|name| format!("_{name}")).collect();
    // What the linker itself refers to, for the simulator.
    symbols.push("dyld_stub_binder".to_owned());
    let targets = "arm64-macos, arm64-ios, arm64-ios-simulator";
    let tbd = format!(
        "--- !tapi-tbd\ntbd-version: 4\ntargets: [ {targets} ]\ninstall-name: '/usr/lib/libSystem.B.dylib'\ncurrent-version: 1\n\
         exports:\n  - targets: [ {targets} ]\n    symbols: [ {} ]\n...\n",
        symbols.join(", ")
    );
    fs::write(dir.path().join("libSystem.tbd"), tbd).expect("writable");
    let out = dir.path().join("out.dylib");
    let mut linker = tool("ld64.lld");
    linker.args(["-dylib", "-arch", "arm64", "-platform_version", platform, least, least, "-all_load", "-o"]).arg(&out);
    output(linker.args(libraries).arg(dir.path().join("libSystem.tbd")));
    output(tool("llvm-nm").args(["-g", "--defined-only"]).arg(&out))
}

#[test]
fn libraries_have_prefixed_names_their_platform_and_its_oldest_system() {
    if !has_runtimes() {
        return;
    }
    for (target, platform, least) in TARGETS {
        let built = build(&fixture("llama-tied"), target, "q4g32", |_| {});
        let manifest = &built.report.manifest;
        assert_eq!(manifest.target.symbol_prefix.as_deref(), Some("llama_tied_"));
        Bundle::open(&built.path()).and_then(|bundle| bundle.verify(Depth::Full, false)).unwrap_or_else(|e| panic!("{target}: {e}"));
        assert!(fs::read_to_string(built.path().join("include/slm.h")).expect("header").contains("int32_t llama_tied_slm_open("));

        let commands = output(tool("llvm-objdump").args(["--macho", "--private-headers"]).arg(library(&built)));
        let of = |key: &str| commands.lines().map(str::trim).filter_map(|l| l.strip_prefix(key)).map(str::trim).collect::<Vec<_>>();
        let (platforms, versions) = (of("platform "), of("minos "));
        let objects = commands.matches("libmodel.a(llama_tied_").count();
        assert!(objects > 1 && platforms.len() == objects && versions.len() == objects, "{target}: {commands}");
        let name = platform.replace('-', "");
        assert!(platforms.iter().all(|found| *found == name), "{target}: {platforms:?}");
        assert!(versions.iter().all(|found| *found == least), "{target}: {versions:?}");

        let functions = if target.ends_with("metal") { format!("{SYSTEM} {GPU}") } else { SYSTEM.to_owned() };
        let offered = link(&[library(&built)], platform, least, &functions);
        assert!(offered.lines().all(|line| line.contains(" _llama_tied_slm_")), "{target}: {offered}");
        for name in OFFERED {
            assert!(offered.contains(&format!("T _llama_tied_{name}\n")), "{target}: {offered}");
        }
    }
}

#[test]
fn two_models_link_into_one_app_and_equal_compiles_are_equal() {
    if !has_runtimes() {
        return;
    }
    let libraries = ["llama-tied", "qwen2"].map(|name| build(&fixture(name), "iphone15-cpu", "q4g32", |_| {}));
    let offered = link(&libraries.each_ref().map(library), "ios", "15.0", SYSTEM);
    for prefix in ["llama_tied_", "qwen2_"] {
        for name in OFFERED {
            assert!(offered.contains(&format!("T _{prefix}{name}\n")), "{offered}");
        }
    }
    let again = build(&fixture("qwen2"), "iphone15-cpu", "q4g32", |o| o.threads = Some(1));
    let bytes = |path: &Path| fs::read(path).expect("a library");
    assert!(bytes(&library(&again)) == bytes(&library(&libraries[1])));
}

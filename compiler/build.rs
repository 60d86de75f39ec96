//! Compiles the runtime stub to one object for each triple and each kind of device it can run plans on, for embedding.
//!
//! The stub is another crate of this workspace built by a second cargo with its own target folder and none of the
//! outer build's flags, so that its bytes depend on the source and the toolchain alone. For a triple whose `core` this
//! toolchain does not have, one is looked for that has the library's sources: this one, the one that `SLMC_STUB_RUSTC` names, the
//! system's. A triple for which there is none is left out; `slmc::stub::object` then
//! answers `None` for it. `SLMC_STUBS=host` leaves all but the host's out, for quick builds.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// Triples that the stub's platform layer supports.
const TRIPLES: [&str; 7] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "aarch64-linux-android",
    "x86_64-linux-android",
    "aarch64-apple-ios",
    "aarch64-apple-ios-sim",
    "aarch64-apple-darwin",
];

/// Kinds of runtime, as `slmc::stub::Runtime` names them, with the features of the crate and a part of the file's name.
const RUNTIMES: [(&str, &str, &str); 3] = [("Cpu", "object", "cpu"), ("Vulkan", "object,vulkan", "vulkan"), ("Metal", "object,metal", "metal")];

/// Oldest systems that Apple's objects run on, recorded in them.
const APPLE_SYSTEMS: [(&str, &str); 2] = [("IPHONEOS_DEPLOYMENT_TARGET", "15.0"), ("MACOSX_DEPLOYMENT_TARGET", "13.0")];

/// Settings of the outer build that must not reach the inner one.
const OUTER: [&str; 9] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "MAKEFLAGS",
    "CARGO_MAKEFLAGS",
    "CARGO_TARGET_DIR",
];

fn main() {
    let root = folder("CARGO_MANIFEST_DIR").join("..");
    let out = folder("OUT_DIR");
    for watched in ["runtime-stub/src", "runtime-stub/Cargo.toml", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    for variable in ["SLMC_STUB_RUSTC", "SLMC_STUBS"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let host = std::env::var("HOST").unwrap_or_default();
    let host_only = std::env::var_os("SLMC_STUBS").is_some_and(|v| v == "host");
    let toolchains = Toolchain::all();
    // Beside the folders of all build scripts, so that builds with other features find what this one made.
    let scratch = out.ancestors().nth(3).unwrap_or(&out).join("stub-target");
    let mut table = String::from("/// Triple, what it runs plans on, and object.\nconst OBJECTS: &[(&str, Runtime, &[u8])] = &[\n");
    for triple in TRIPLES {
        if triple != host && host_only {
            continue;
        }
        let Some((toolchain, core)) = Toolchain::for_triple(&toolchains, triple) else { continue };
        let apple = triple.contains("-apple-");
        for (runtime, features, name) in RUNTIMES.iter().filter(|(runtime, ..)| *runtime != if apple { "Vulkan" } else { "Metal" }) {
            let object = out.join(format!("stub-{triple}-{name}.o"));
            match (Stub { root: &root, scratch: &scratch, triple, features }).compile(toolchain, core, &object) {
                Ok(object) => {
                    let _ = writeln!(table, "    ({triple:?}, Runtime::{runtime}, include_bytes!({object:?})),");
                }
                Err(message) if triple == host => {
                    println!("cargo::error=the runtime stub for {triple} does not build: {message}");
                    exit(1);
                }
                Err(message) => println!("cargo::warning=no runtime stub for {triple}: {message}"),
            }
        }
    }
    table.push_str("];\n");
    if let Err(error) = std::fs::write(out.join("stubs.rs"), table) {
        println!("cargo::error=cannot write stubs.rs: {error}");
        exit(1);
    }
}

fn folder(variable: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(variable).unwrap_or_default())
}

/// A Rust compiler with the cargo that drives it.
struct Toolchain {
    rustc: PathBuf,
    cargo: PathBuf,
}

/// How a toolchain has `core` for a triple.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Core {
    /// Compiled.
    Compiled,
    /// As sources.
    Sources,
}

impl Toolchain {
    /// Those to look at, in order, each once.
    fn all() -> Vec<Toolchain> {
        let own = PathBuf::from(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let own_cargo = PathBuf::from(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        let mut all = vec![Toolchain { rustc: own, cargo: own_cargo }];
        let named = std::env::var_os("SLMC_STUB_RUSTC").map(PathBuf::from);
        for rustc in named.into_iter().chain(["/usr/bin/rustc".into(), "/usr/local/bin/rustc".into()]) {
            let cargo = rustc.with_file_name("cargo");
            // A compiler without a cargo of its age may not know what ours writes.
            if rustc.is_file() && cargo.is_file() {
                all.push(Toolchain { rustc, cargo });
            }
        }
        all
    }

    /// The build's own if it has the triple's `core` compiled, else the first that has its sources: a `core` that a distribution
    /// compiled may bring debug information, with paths of this machine.
    fn for_triple<'t>(all: &'t [Toolchain], triple: &str) -> Option<(&'t Toolchain, Core)> {
        let own = all.first().filter(|own| own.has_core(triple, Core::Compiled));
        let of_sources = || all.iter().find(|t| t.has_core(triple, Core::Sources)).map(|t| (t, Core::Sources));
        own.map(|own| (own, Core::Compiled)).or_else(of_sources)
    }

    /// Whether it has `core`; the folders are named even where they are absent.
    fn has_core(&self, triple: &str, core: Core) -> bool {
        let arguments: &[&str] = match core {
            Core::Compiled => &["--print", "target-libdir", "--target", triple],
            Core::Sources => &["--print", "sysroot"],
        };
        let Ok(output) = Command::new(&self.rustc).args(arguments).output() else { return false };
        let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        match core {
            Core::Compiled => std::fs::read_dir(folder)
                .is_ok_and(|mut entries| entries.any(|e| e.is_ok_and(|e| e.file_name().to_string_lossy().starts_with("libcore-")))),
            Core::Sources => folder.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file(),
        }
    }
}

/// An object to be made.
struct Stub<'a> {
    root: &'a Path,
    scratch: &'a Path,
    triple: &'a str,
    features: &'a str,
}

impl Stub<'_> {
    /// Builds the object and returns its path.
    fn compile<'o>(&self, toolchain: &Toolchain, core: Core, object: &'o Path) -> Result<&'o Path, String> {
        let mut command = Command::new(&toolchain.cargo);
        // The small software SHA-256 is behind a cfg; processors with SHA instructions do not use it.
        let mut flags = String::from("--cfg\u{1f}sha2_backend_soft=\"compact\"\u{1f}-Cforce-unwind-tables=no");
        if self.triple.starts_with("aarch64") && !self.triple.contains("-apple-") {
            // Atomics in line: the helper functions live in a library that is not linked.
            flags.push_str("\u{1f}-Ctarget-feature=-outline-atomics");
        }
        for variable in OUTER {
            command.env_remove(variable);
        }
        command
            .current_dir(self.root)
            .env("CARGO_ENCODED_RUSTFLAGS", flags)
            .env("RUSTC", &toolchain.rustc)
            .envs(APPLE_SYSTEMS)
            .args(["rustc", "--quiet", "--locked", "--package", "slmc-runtime-stub", "--lib"])
            .args(["--crate-type", "staticlib", "--profile", "stub", "--features", self.features])
            .args(["--target", self.triple, "--target-dir"])
            .arg(self.scratch);
        if core == Core::Sources {
            command.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=core");
        }
        // One path for all builds: the path is a part of what cargo compares, and an unchanged build writes nothing.
        let made = self.scratch.join(format!("{}-{}.o", self.triple, self.features.replace(',', "-")));
        command.arg("--").arg(format!("--emit=obj={}", made.display()));
        let output = command.output().map_err(|error| format!("{} cannot be run: {error}", toolchain.cargo.display()))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).replace('\n', " | "));
        }
        std::fs::copy(&made, object).map_err(|error| format!("no object at {}: {error}", made.display()))?;
        Ok(object)
    }
}

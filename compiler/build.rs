//! Compiles the runtime stub to one object for each triple whose `core` this toolchain has and each kind of device it can
//! run plans on, for embedding.
//!
//! The stub is another crate of this workspace built by a second cargo with its own target folder and none of the
//! outer build's flags, so that its bytes depend on the source and the toolchain alone. A triple without `core` is
//! left out; `slmc::stub::object` then answers `None` for it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// Triples that the stub's platform layer supports.
const TRIPLES: [&str; 4] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-linux-android", "x86_64-linux-android"];

/// Kinds of runtime, as `slmc::stub::Runtime` names them, with the features of the crate and a part of the file's name.
const RUNTIMES: [(&str, &str, &str); 2] = [("Cpu", "object", "cpu"), ("Vulkan", "object,vulkan", "vulkan")];

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
    let host = std::env::var("HOST").unwrap_or_default();
    let mut table = String::from("/// Triple, what it runs plans on, and object.\nconst OBJECTS: &[(&str, Runtime, &[u8])] = &[\n");
    for triple in TRIPLES {
        if triple != host && !has_core(triple) {
            continue;
        }
        for (runtime, features, name) in RUNTIMES {
            match compile(&root, &out.join(format!("stub-{triple}-{name}.o")), features, triple) {
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

/// Whether the toolchain has a compiled `core` for the triple; the folder is named even where it is absent.
fn has_core(triple: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let Ok(output) = Command::new(rustc).args(["--print", "target-libdir", "--target", triple]).output() else {
        return false;
    };
    let libraries = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let Ok(entries) = std::fs::read_dir(libraries) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}

/// Builds the object with these features and returns its path.
fn compile<'a>(root: &Path, object: &'a Path, features: &str, triple: &str) -> Result<&'a Path, String> {
    let out = object.parent().unwrap_or(root);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // The small software SHA-256 is behind a cfg; processors with SHA instructions do not use it.
    let mut flags = String::from("--cfg\u{1f}sha2_backend_soft=\"compact\"\u{1f}-Cforce-unwind-tables=no");
    if triple.starts_with("aarch64") {
        // Atomics in line: the helper functions live in a library that is not linked.
        flags.push_str("\u{1f}-Ctarget-feature=-outline-atomics");
    }
    for variable in OUTER {
        command.env_remove(variable);
    }
    command
        .current_dir(root)
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .args(["rustc", "--quiet", "--locked", "--package", "slmc-runtime-stub", "--lib"])
        .args(["--crate-type", "staticlib", "--profile", "stub", "--features", features])
        .args(["--target", triple, "--target-dir"])
        // A folder for each set of features, so that one build does not undo the other's.
        .arg(out.join("stub-target").join(features.replace(',', "-")))
        .arg("--")
        .arg(format!("--emit=obj={}", object.display()));
    // An unchanged inner build writes nothing, so what an earlier build left stays.
    let output = command.output().map_err(|error| format!("cargo cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).replace('\n', " | "));
    }
    if !object.is_file() {
        return Err(format!("no object at {}", object.display()));
    }
    Ok(object)
}

//! Linking: kernels and stub become one shared object, or one static library for Apple's systems.
//!
//! The linker of shared objects is lld, started as a program; nothing else of a toolchain is needed. The C library to link against is
//! written here, function by function, with the oldest version that each has ([`libc_table`]): so a bundle runs on any
//! system from the baseline on, and a function that is not in the table cannot get into a bundle unseen.
//!
//! Same objects, same linker: same bytes. Paths of this machine do not reach the output.

pub mod apple_table;
pub mod archive;
pub mod elf_stub;
mod error;
pub mod find;
pub mod libc_table;
mod macho_names;
mod symbols;

use std::fs;
use std::path::Path;
use std::process::Command;

pub use error::LinkError;
pub use find::Linker;
pub use symbols::{SymbolReport, undefined_of_objects, undefined_of_shared};

use libc_table::{Libc, Library, System};

/// Code to be linked.
#[derive(Debug, Clone, Copy)]
pub struct CodeObject<'a> {
    /// What it is, for messages.
    pub name: &'a str,
    /// A relocatable object: ELF for shared objects, Mach-O for static libraries.
    pub bytes: &'a [u8],
}

/// What is linked how.
#[derive(Debug, Clone, Copy)]
pub struct LinkRequest<'a> {
    /// The target's triple.
    pub triple: &'a str,
    /// Largest page the code may be loaded with, bytes.
    pub page_bytes: u32,
    /// Name recorded in the library (`DT_SONAME`).
    pub soname: &'a str,
    /// Symbols to export, `*` allowed; all others become local.
    pub exports: &'a [&'a str],
    /// Whether the code may load a library at run time: the driver of a GPU.
    pub loads_driver: bool,
}

/// A linked library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// The shared object.
    pub bytes: Vec<u8>,
    /// What it takes from outside.
    pub symbols: SymbolReport,
}

/// Links `objects` into one shared object, working in a temporary folder that is gone afterwards.
///
/// # Errors
/// A target without ELF, functions that no bundle may use, a linker that fails (with its own words), no room for the
/// temporary files.
pub fn link_shared(linker: &Linker, objects: &[CodeObject<'_>], request: &LinkRequest<'_>) -> Result<Linked, LinkError> {
    let system = System::of_triple(request.triple).ok_or_else(|| LinkError::Triple { triple: request.triple.to_owned() })?;
    let wanted = undefined_of_objects(objects)?;
    let libraries = libc_table::provide(system, &wanted, request.loads_driver)?;

    let dir = tempfile::Builder::new().prefix("slmc-link-").tempdir().map_err(|e| LinkError::io("a temporary folder", &e))?;
    let mut inputs = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        inputs.push(write(dir.path(), &format!("{index}.o"), object.bytes)?);
    }
    for Library { soname, functions } in &libraries {
        inputs.push(write(dir.path(), &format!("{soname}.so"), &elf_stub::shared_object(system.arch, soname, functions))?);
    }
    write(dir.path(), "exports.map", version_script(request.exports).as_bytes())?;

    let mut command = Command::new(&linker.program);
    command.current_dir(dir.path()).args(&linker.first_args).args(["-shared", "-m", system.arch.emulation()]);
    command.args(["--gc-sections", "--strip-all", "--build-id=none", hash_style(system), "--no-undefined", "--as-needed"]);
    command.args(["-z", "relro", "-z", "now", "-z", "noexecstack", "-z"]).arg(format!("max-page-size={}", request.page_bytes));
    command.args(["-soname", request.soname, "--version-script", "exports.map", "-o", "out.so"]).args(&inputs);
    let run = command.output().map_err(|e| LinkError::Start { program: linker.program.clone(), detail: e.to_string() })?;
    if !run.status.success() {
        let words = String::from_utf8_lossy(&run.stderr).trim().to_owned();
        return Err(LinkError::Failed { program: linker.program.clone(), status: run.status.to_string(), words });
    }
    let bytes = fs::read(dir.path().join("out.so")).map_err(|e| LinkError::io("the linked library", &e))?;
    let symbols = undefined_of_shared(&bytes)?;
    Ok(Linked { bytes, symbols })
}

/// Androids before 6 read the older table only.
fn hash_style(system: System) -> &'static str {
    match system.libc {
        Libc::Glibc => "--hash-style=gnu",
        Libc::Bionic => "--hash-style=both",
    }
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<String, LinkError> {
    fs::write(dir.join(name), bytes).map_err(|e| LinkError::io(name, &e))?;
    Ok(name.to_owned())
}

fn version_script(exports: &[&str]) -> String {
    let mut text = String::from("{ global: ");
    for export in exports {
        text.push_str(export);
        text.push_str("; ");
    }
    text.push_str("local: *; };\n");
    text
}

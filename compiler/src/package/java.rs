//! The class `slmc.Model` and the library it calls.
//!
//! The class is compiled against outlines of the two Android classes that it names, which stay out of the package: their real forms
//! are on the phone. It also runs on other Java machines, where only what takes an Android context is of no use.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::PackageError;
use crate::link::{CodeObject, LinkError, LinkRequest, Linker, link_shared};
use crate::stub;

/// Sources of the classes, by their paths.
pub(super) const SOURCES: [(&str, &str); 2] =
    [("slmc/Model.java", include_str!("templates/Model.java")), ("slmc/ModelException.java", include_str!("templates/ModelException.java"))];

/// Outlines of what Android has.
const OUTLINES: [(&str, &str); 2] = [
    ("android/content/Context.java", include_str!("templates/Context.java")),
    ("android/content/res/AssetManager.java", include_str!("templates/AssetManager.java")),
];

/// The version of class files and language: what every Android build takes.
const RELEASE: &str = "8";

/// A Java compiler.
#[derive(Debug, Clone)]
pub struct Javac {
    /// The program.
    pub program: PathBuf,
}

impl Javac {
    /// The one of `JAVA_HOME`, else the first in the path.
    pub fn find() -> Option<Self> {
        let home = env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin"));
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders = home.into_iter().chain(env::split_paths(&path));
        folders.find_map(|folder| Some(folder.join("javac")).filter(|program| program.is_file())).map(|program| Self { program })
    }
}

/// The class files of `slmc`, by their paths, sorted.
///
/// # Errors
/// A compiler that fails, with its words; no room for temporary files.
pub fn classes(javac: &Javac) -> Result<Vec<(String, Vec<u8>)>, PackageError> {
    let dir = tempfile::Builder::new().prefix("slmc-java-").tempdir().map_err(|e| LinkError::io("a temporary folder", &e))?;
    compile(javac, dir.path(), &OUTLINES, "outlines", &[])?;
    compile(javac, dir.path(), &SOURCES, "classes", &["-classpath", "outlines"])?;
    let folder = dir.path().join("classes/slmc");
    let entries = fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(|e| LinkError::io("class files", &e))?;
    let mut classes = Vec::new();
    for entry in entries {
        let bytes = fs::read(entry.path()).map_err(|e| LinkError::io("class files", &e))?;
        classes.push((format!("slmc/{}", entry.file_name().to_string_lossy()), bytes));
    }
    classes.sort();
    Ok(classes)
}

fn compile(javac: &Javac, dir: &Path, sources: &[(&str, &str)], out: &str, more: &[&str]) -> Result<(), PackageError> {
    let io = |e: &std::io::Error| LinkError::io("Java sources", e);
    let mut command = Command::new(&javac.program);
    command.current_dir(dir).env_remove("JAVA_TOOL_OPTIONS").env_remove("JDK_JAVAC_OPTIONS").env_remove("CLASSPATH");
    // The warning that is switched off says that version 8 will go one day.
    command.args(["--release", RELEASE, "-g:none", "-Xlint:-options", "-encoding", "UTF-8", "-implicit:none", "-d", out]).args(more);
    for (path, text) in sources {
        let file = dir.join(path);
        fs::create_dir_all(file.parent().unwrap_or(dir)).and_then(|()| fs::write(&file, text)).map_err(|e| io(&e))?;
        command.arg(path);
    }
    let failed = |words: String| PackageError::Javac { program: javac.program.clone(), words };
    let run = command.output().map_err(|e| failed(e.to_string()))?;
    if run.status.success() { Ok(()) } else { Err(failed(String::from_utf8_lossy(&run.stderr).trim().to_owned())) }
}

/// The library `libslmc_jni.so` for a system.
///
/// # Errors
/// A build without the bridge for this triple; the linker's.
pub fn bridge_library(linker: &Linker, triple: &str) -> Result<Vec<u8>, PackageError> {
    let Some(object) = stub::java_bridge(triple) else { return Err(PackageError::NoBridge { triple: triple.to_owned() }) };
    let request = LinkRequest { triple, page_bytes: 16384, soname: "libslmc_jni.so", exports: &["Java_slmc_*"], loads_driver: true };
    Ok(link_shared(linker, &[CodeObject { name: "the bridge to Java", bytes: object }], &request)?.bytes)
}

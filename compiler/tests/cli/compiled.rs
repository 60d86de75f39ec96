//! Bundles for these tests, compiled once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::run::{arg, repository, slmc};

/// A bundle of the smallest fixture, `--quant f32`. Not to be changed.
#[cfg(any(feature = "cranelift", feature = "llvm"))]
pub fn tiny() -> &'static Path {
    static BUNDLE: OnceLock<PathBuf> = OnceLock::new();
    BUNDLE.get_or_init(|| compile("tests/fixtures/llama-tied", "tiny.slm", &["--quant", "f32"]))
}

/// A bundle of the warehouse student with its tokenizer. Not to be changed.
#[cfg(any(feature = "cranelift", feature = "llvm"))]
pub fn student() -> &'static Path {
    static BUNDLE: OnceLock<PathBuf> = OnceLock::new();
    BUNDLE.get_or_init(|| compile("examples/warehouse", "student.slm", &["--quant", "q8"]))
}

/// A bundle of the warehouse student for `vulkan-generic`. Not to be changed.
#[cfg(feature = "naga")]
pub fn vulkan() -> &'static Path {
    static BUNDLE: OnceLock<PathBuf> = OnceLock::new();
    BUNDLE.get_or_init(|| compile("examples/warehouse", "vulkan.slm", &["--target", "vulkan-generic"]))
}

fn compile(model: &str, name: &str, options: &[&str]) -> PathBuf {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(name);
    let model = repository(model);
    slmc(&[&["compile", arg(&model), "-o", arg(&out), "--force", "--quiet"], options].concat()).ok();
    out
}

/// A copy of a bundle that may be changed.
pub fn copy(bundle: &Path, to: &Path) {
    fs::create_dir_all(to.join("include")).expect("folder");
    for path in files(bundle) {
        fs::copy(bundle.join(&path), to.join(&path)).expect("copied");
    }
}

/// All files of a bundle, by path.
pub fn files(bundle: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(bundle).expect("bundle") {
        let name = entry.expect("entry").file_name().to_string_lossy().into_owned();
        if bundle.join(&name).is_dir() {
            let inner = fs::read_dir(bundle.join(&name)).expect("folder");
            paths.extend(inner.map(|e| format!("{name}/{}", e.expect("entry").file_name().to_string_lossy())));
        } else {
            paths.push(name);
        }
    }
    paths.sort();
    paths
}

//! Bundles compiled for the targets that this machine runs, in a folder that goes when they do.

use std::path::{Path, PathBuf};

use slmc::engine::{Engine, EngineOptions, TokenizeOptions};
use slmc::pipeline::{self, CompileOptions, CompileReport, Outcome, Silent};
use slmc::target::{TargetSpec, machine_lacks};
use tempfile::TempDir;

/// A bundle of a test.
pub struct Built {
    folder: TempDir,
    /// What the compile told.
    pub report: CompileReport,
}

/// The x86-64 targets that this machine runs; says which it does not.
pub fn targets() -> Vec<&'static str> {
    let mut names = vec!["x86_64-avx512vnni", "x86_64-avx2"];
    names.retain(|name| {
        let target = TargetSpec::parse(name).unwrap_or_else(|e| panic!("{e}")).target;
        match machine_lacks(target.triple, &target.features) {
            None => true,
            Some(why) => {
                println!("skipped {name}: {why}");
                false
            }
        }
    });
    names
}

/// The code generators for CPUs of this build; the first is the one that a compile takes.
pub fn backends() -> Vec<&'static str> {
    slmc_backends::all().into_iter().map(slmc_backends::Backend::name).filter(|name| *name != "naga").collect()
}

/// The Vulkan targets for this machine's processor, if it has a device; says how to get one if not.
pub fn vulkan_targets() -> Vec<&'static str> {
    match slmc_runtime_stub::platform::vulkan::devices(None, |_| {}) {
        Ok(()) => vec!["vulkan-generic", "vulkan-desktop"],
        Err(_) => {
            println!("skipped: no Vulkan device; apt-get install mesa-vulkan-drivers libvulkan1 gives one in software");
            Vec::new()
        }
    }
}

/// Compiles a checkpoint; `adjust` changes the options from their defaults.
///
/// # Panics
/// When anything fails: the tests' inputs are valid.
pub fn build(model: &Path, target: &str, quant: &str, adjust: impl FnOnce(&mut CompileOptions)) -> Built {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let spec = TargetSpec::parse(target).unwrap_or_else(|e| panic!("{e}"));
    let mut options = CompileOptions::new(model.to_owned(), folder.path().join("model.slm"), spec);
    options.quant = quant.to_owned();
    adjust(&mut options);
    match pipeline::compile(&options, &Silent) {
        Ok(Outcome::Written(report)) => Built { folder, report: *report },
        Ok(Outcome::Stopped { after, .. }) => panic!("{}: stopped after {after}", model.display()),
        Err(e) => panic!("{} for {target} as {quant}: {e}", model.display()),
    }
}

impl Built {
    /// The bundle.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("model.slm")
    }

    /// Opens it.
    ///
    /// # Panics
    /// When that fails.
    pub fn open(&self, threads: u32) -> Engine {
        Engine::open(&self.path(), &EngineOptions { threads, ..EngineOptions::default() }).unwrap_or_else(|e| panic!("{e}"))
    }
}

/// Logits of every token from an empty cache, in steps of `chunk` tokens.
///
/// # Panics
/// When the engine refuses.
pub fn logits(engine: &mut Engine, ids: &[u32], chunk: u32) -> Vec<Vec<f32>> {
    engine.reset().unwrap_or_else(|e| panic!("{e}"));
    engine.set_chunk(chunk).unwrap_or_else(|e| panic!("{e}"));
    let vocab = engine.info().vocab as usize;
    engine.eval_all(ids).unwrap_or_else(|e| panic!("{e}")).chunks_exact(vocab).map(<[f32]>::to_vec).collect()
}

/// Ids of a text as it stands: no frame, special tokens as text.
///
/// # Panics
/// When the engine refuses.
pub fn tokens(engine: &mut Engine, text: &str) -> Vec<u32> {
    engine.tokenize(text, TokenizeOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

//! What a compile has to tell when it is done.

use std::path::PathBuf;

use super::{CompileOptions, MemoryPlan, PhaseTime};
use crate::bundle::{CODE, KERNELS_METAL, KERNELS_SPV, Manifest, STATIC_CODE};

/// How a compile ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A bundle stands in its place.
    Written(Box<CompileReport>),
    /// It stopped after a phase, as asked, and wrote no bundle.
    Stopped {
        /// The phase.
        after: String,
        /// Time of each phase.
        times: Vec<PhaseTime>,
        /// What was odd but no fault.
        warnings: Vec<String>,
    },
}

/// A finished compile.
#[derive(Debug, Clone)]
pub struct CompileReport {
    /// The bundle.
    pub bundle: PathBuf,
    /// What its manifest says.
    pub manifest: Manifest,
    /// What running it takes.
    pub memory: MemoryPlan,
    /// Time of each phase.
    pub times: Vec<PhaseTime>,
    /// What was odd but no fault.
    pub warnings: Vec<String>,
}

impl CompileReport {
    pub(super) fn new(options: &CompileOptions, manifest: Manifest, memory: MemoryPlan, times: Vec<PhaseTime>, warnings: Vec<String>) -> Self {
        Self { bundle: options.output.clone(), manifest, memory, times, warnings }
    }

    /// Bytes of the bundle's files, the manifest aside.
    pub fn bytes(&self) -> u64 {
        self.manifest.files.iter().map(|file| file.bytes).sum()
    }

    /// Bytes of the code in the bundle: the runtime with the kernels, or the shaders beside it.
    pub fn code_bytes(&self) -> u64 {
        let paths = [CODE, STATIC_CODE, KERNELS_SPV, KERNELS_METAL];
        paths.into_iter().filter_map(|path| self.manifest.file(path)).map(|file| file.bytes).sum()
    }
}

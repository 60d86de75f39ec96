//! The phases of a compile: their names, their times, and whoever watches them.

use std::path::Path;
use std::time::{Duration, Instant};

use super::CompileError;

/// Every phase in order, with what it does. A pass is a phase of its name.
pub const PHASES: &[(&str, &str)] = &[
    ("import", "read and check the checkpoint, build the graph"),
    ("tokenizer", "compile tokenizer and chat template"),
    ("fold", "simplify the graph"),
    ("share", "make weights of equal content one"),
    ("quantize", "choose the format of every weight"),
    ("fuse", "group nodes into launches"),
    ("lower", "make kernels and the plan"),
    ("legalize", "take apart what the target lacks"),
    ("memory", "place activations in the arena"),
    ("overlap", "find launches that need not wait"),
    ("verify", "prove the kernels sound"),
    ("codegen", "make machine code"),
    ("link", "link kernels and runtime"),
    ("pack", "quantize and pack the weights"),
    ("write", "write the bundle and put it in place"),
];

/// Time of one phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhaseTime {
    /// Its name.
    pub name: String,
    /// How long it took.
    pub time: Duration,
}

/// Someone who watches a compile. Called from several threads.
pub trait Progress: Sync {
    /// A phase begins; `total` is the number of bytes it will go through, where known.
    fn begin(&self, phase: &str, total: Option<u64>);
    /// Bytes of the phase done since the last call.
    fn advance(&self, bytes: u64);
    /// The phase ended.
    fn end(&self, phase: &str, time: Duration);
}

/// Nobody watches.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _phase: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self, _phase: &str, _time: Duration) {}
}

/// The place of a phase in [`PHASES`].
pub(super) fn index(name: &str) -> usize {
    PHASES.iter().position(|(phase, _)| *phase == name).unwrap_or(PHASES.len())
}

/// Whether a compile can stop after `name`; the tokenizer's tables and what the last phases make are nothing to look at.
pub(super) fn check(name: &str) -> Result<(), CompileError> {
    let stops = || PHASES.iter().map(|(phase, _)| *phase).take_while(|phase| *phase != "pack").filter(|phase| *phase != "tokenizer");
    if stops().any(|phase| phase == name) {
        return Ok(());
    }
    Err(CompileError::Phase { name: name.to_owned(), known: stops().collect::<Vec<_>>().join(", ") })
}

/// Bytes of the weights in a checkpoint folder, for the progress of reading them.
pub(super) fn checkpoint_bytes(dir: &Path) -> Option<u64> {
    let entries = std::fs::read_dir(dir).ok()?;
    let weights = entries.flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "safetensors"));
    Some(weights.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum())
}

/// Times phases and tells the watcher.
pub(super) struct Timer<'p> {
    progress: &'p dyn Progress,
    times: Vec<PhaseTime>,
}

impl<'p> Timer<'p> {
    pub(super) fn new(progress: &'p dyn Progress) -> Self {
        Self { progress, times: Vec::new() }
    }

    /// Runs a phase; `work` is given what to call with bytes done.
    pub(super) fn run<T>(&mut self, name: &str, total: Option<u64>, work: impl FnOnce(&(dyn Fn(u64) + Sync)) -> T) -> T {
        let start = Instant::now();
        self.progress.begin(name, total);
        let result = work(&|bytes| self.progress.advance(bytes));
        let time = start.elapsed();
        self.progress.end(name, time);
        self.times.push(PhaseTime { name: name.to_owned(), time });
        result
    }

    /// Records a phase that was timed elsewhere.
    pub(super) fn add(&mut self, name: &str, time: Duration) {
        self.times.push(PhaseTime { name: name.to_owned(), time });
    }

    /// Phases so far; the number of the next one.
    pub(super) fn done(&self) -> usize {
        self.times.len()
    }

    pub(super) fn finish(self) -> Vec<PhaseTime> {
        self.times
    }
}

//! Runs a list of passes: verifies before and after each, times each, shows each result to the caller.
//!
//! The driver writes nothing. Dumps go through a callback that gets the number, the name and the text of every phase, or
//! the notice that a pass changed nothing; the caller puts them into files.

use std::time::Duration;

use slmc_ir::graph::Graph;
use slmc_ir::plan::Program;

use super::{Changed, PassCx, PassInfo, PassSpec, PipelineError};

/// An IR that passes run over.
pub trait Subject: 'static {
    /// Everything the verifier finds wrong, one sentence each; empty if it is valid.
    fn faults(&self) -> Vec<String>;
    /// The text form.
    fn text(&self) -> String;
}

impl Subject for Graph {
    fn faults(&self) -> Vec<String> {
        match slmc_ir::graph::verify::verify(self) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
        }
    }
    fn text(&self) -> String {
        self.to_string()
    }
}

impl Subject for Program {
    /// A plan whose arena is not laid out yet is judged as `memory` would lay it out, so that the other rules can be checked.
    fn faults(&self) -> Vec<String> {
        let faults = match &self.plan {
            Some(plan) if plan.arena_bytes == 0 && !plan.arena.is_empty() => {
                let mut placed = self.clone();
                placed.plan.iter_mut().for_each(|plan| crate::memory::plan(plan, crate::memory::ALIGN));
                Program::faults(&placed)
            }
            _ => Program::faults(self),
        };
        faults.iter().map(ToString::to_string).collect()
    }
    fn text(&self) -> String {
        self.to_string()
    }
}

/// A state of the IR that is shown to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase<'a> {
    /// Number, counted from [`Drive::first_index`].
    pub index: usize,
    /// Name of the pass that made it.
    pub name: &'a str,
    /// The text form, or `None` if the pass changed nothing.
    pub text: Option<&'a str>,
}

/// How a list of passes is run.
#[derive(Default)]
pub struct Drive<'a> {
    /// Sees the result of every pass; `None` saves the printing.
    pub observe: Option<&'a mut dyn FnMut(Phase<'_>)>,
    /// Number of the first pass in dumps and messages.
    pub first_index: usize,
    /// Name of the pass after whose first run to stop.
    pub stop_after: Option<&'a str>,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunReport {
    /// One row for each pass that was run, in order.
    pub times: Vec<PassTime>,
    /// Whether it ended at [`Drive::stop_after`].
    pub stopped: bool,
}

/// Time of one pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassTime {
    /// Number, counted from [`Drive::first_index`].
    pub index: usize,
    /// The pass.
    pub name: &'static str,
    /// Time in the pass.
    pub run: Duration,
    /// Time in the verifier after it.
    pub verify: Duration,
    /// Whether it changed anything.
    pub changed: bool,
}

/// Runs `specs`, taken from the list `all`, over `m`.
///
/// Errors: an unknown pass or option (all of them), an input or a result that the verifier refuses, a pass that gave up.
/// After an error `m` is not to be used.
pub fn run<M: Subject>(
    m: &mut M,
    specs: &[PassSpec],
    all: &[&'static PassInfo<M>],
    cx: &mut PassCx<'_>,
    drive: &mut Drive<'_>,
) -> Result<RunReport, PipelineError> {
    let passes = PassSpec::build(specs, all)?;
    if let Some(name) = drive.stop_after
        && !specs.iter().any(|s| s.name == name)
    {
        let list = specs.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(PipelineError::NoSuchStop { name: name.to_owned(), list });
    }
    let faults = m.faults();
    if !faults.is_empty() {
        return Err(PipelineError::InvalidInput { faults });
    }
    let mut report = RunReport::default();
    for (i, pass) in passes.iter().enumerate() {
        let (index, name) = (drive.first_index + i, pass.info().name);
        let start = (cx.clock)();
        let changed = pass.run(m, cx).map_err(|source| PipelineError::Pass { index, pass: name.to_owned(), source })?;
        let ran = (cx.clock)();
        let faults = m.faults();
        if !faults.is_empty() {
            return Err(PipelineError::InvalidOutput { index, pass: name.to_owned(), faults });
        }
        let verified = (cx.clock)();
        report.times.push(PassTime {
            index,
            name,
            run: ran.saturating_sub(start),
            verify: verified.saturating_sub(ran),
            changed: changed == Changed::Yes,
        });
        if let Some(observe) = &mut drive.observe {
            match changed {
                Changed::Yes => observe(Phase { index, name, text: Some(&m.text()) }),
                Changed::No => observe(Phase { index, name, text: None }),
            }
        }
        if drive.stop_after == Some(name) {
            report.stopped = true;
            break;
        }
    }
    Ok(report)
}

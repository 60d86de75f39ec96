//! What a pass is, and what a pass may see.
//!
//! A pass is a value without state: its options are fields, set once from text by [`PassInfo::build`], and everything else
//! comes in through [`PassCx`]. There are no globals and no registration at link time: the passes of an IR are one static
//! list, in the order in which they are usually run. A pass never reads a file, a clock or the environment; what it needs
//! from outside (a regular-expression matcher, a clock) the caller puts into the context.

pub mod driver;
pub mod options;
pub mod pipeline;

use std::time::Duration;

use slmc_ir::target::Target;

use crate::graph::quantize::QuantizeReport;
use crate::graph::share::SharingReport;

pub use driver::{Drive, PassTime, Phase, RunReport, Subject, run};
pub use options::{OptionError, OptionReader, Options};
pub use pipeline::{GRAPH_PIPELINE, KERNEL_PIPELINE, PassSpec, PipelineError};

/// Answers whether a name matches a pattern, or says in words what is wrong with the pattern.
///
/// Passes may not depend on a regular-expression crate; the compiler gives one.
pub type Matcher<'a> = dyn Fn(&str, &str) -> Result<bool, String> + 'a;

/// What a pass sees beside the IR, and where it leaves its report.
pub struct PassCx<'a> {
    /// Pattern first, name second.
    pub matches: &'a Matcher<'a>,
    /// The target, for passes whose result depends on it; `None` where only graph passes are run.
    pub target: Option<&'a Target>,
    /// Time since a fixed moment, for the timing table only.
    pub clock: &'a dyn Fn() -> Duration,
    /// What the passes have to tell.
    pub reports: Reports,
}

impl<'a> PassCx<'a> {
    /// A context without target, with empty reports.
    pub fn new(matches: &'a Matcher<'a>, clock: &'a dyn Fn() -> Duration) -> Self {
        Self { matches, target: None, clock, reports: Reports::default() }
    }
}

/// What the passes of a run had to tell; `None` for a pass that was not run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reports {
    /// Of `share`.
    pub sharing: Option<SharingReport>,
    /// Of `quantize`.
    pub quantize: Option<QuantizeReport>,
}

/// Whether a pass changed the IR. `No` promises that it is equal to what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// Something is different.
    Yes,
    /// Nothing is.
    No,
}

impl Changed {
    /// `Yes` if `condition`.
    pub fn when(condition: bool) -> Self {
        if condition { Changed::Yes } else { Changed::No }
    }
}

/// A transformation of the IR `M`.
pub trait Pass<M> {
    /// The pass's row of the static list.
    fn info(&self) -> &'static PassInfo<M>;
    /// Transforms `m`, which the verifier accepts, into something the verifier accepts. On an error `m` may be left half
    /// done; the driver throws it away.
    fn run(&self, m: &mut M, cx: &mut PassCx<'_>) -> Result<Changed, PassError>;
}

/// Makes a pass from its options, or says all that is wrong with them.
pub type BuildPass<M> = fn(&Options) -> Result<Box<dyn Pass<M>>, OptionError>;

/// What is known of a pass without running it.
pub struct PassInfo<M: 'static> {
    /// Its name: of the file, on the command line, of the folder of its tests.
    pub name: &'static str,
    /// One line for `slmc passes`.
    pub summary: &'static str,
    /// The options it takes.
    pub options: &'static [OptionInfo],
    /// Makes the pass from its options, or says all that is wrong with them.
    pub build: BuildPass<M>,
}

/// One option of a pass.
#[derive(Debug)]
pub struct OptionInfo {
    /// Left of the `=`.
    pub name: &'static str,
    /// What may stand right of it.
    pub values: &'static str,
    /// What holds where it is not given.
    pub default: &'static str,
    /// One line for `slmc passes`.
    pub summary: &'static str,
}

/// Why a pass gave up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PassError {
    /// The model or an option asks for what the pass cannot do: the user's to change.
    #[error("{}", .0.join("\n"))]
    Unsupported(Vec<String>),
    /// A state that the verifier should have made impossible: ours to mend.
    #[error("bug in the compiler: {0}; please report it together with the IR dump before this pass")]
    Bug(String),
}

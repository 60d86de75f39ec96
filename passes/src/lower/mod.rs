//! Lowering: a fused graph and a target become kernels and a plan.
//!
//! Lowering asks the [`Target`]'s data only; it knows no code generator. It makes each distinct kernel once: kernels are
//! named by everything that shapes them, so equal names are equal kernels.

pub mod activation;
pub mod cpu;
pub mod gpu;
pub mod head_rows;
pub mod launch;

use slmc_ir::graph::Graph;
use slmc_ir::kernel::KernelModule;
use slmc_ir::plan::{Plan, Program};
use slmc_ir::target::Target;

/// What lowering yields.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// The kernels.
    pub kernels: KernelModule,
    /// The plan that launches them. Arena offsets are zero until [`crate::memory::plan`] ran.
    pub plan: Plan,
}

impl From<Lowered> for Program {
    fn from(lowered: Lowered) -> Self {
        Self { kernels: lowered.kernels, plan: Some(lowered.plan) }
    }
}

/// Why a graph could not be lowered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LowerError {
    /// The graph holds what this target's schedules cannot compute: all of it, by node.
    #[error("no schedule for: {}", .0.join("; "))]
    Unsupported(Vec<String>),
    /// A graph that no pass of ours makes.
    #[error("bug in slmc: lowering met {0}")]
    Bug(String),
}

/// Lowers a fused graph for a CPU target.
///
/// # Errors
/// [`LowerError::Unsupported`] names every group that has no schedule.
pub fn lower(graph: &Graph, target: &Target) -> Result<Lowered, LowerError> {
    cpu::lower(graph, target)
}

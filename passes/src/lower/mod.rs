//! Lowering: a fused graph and a target become kernels and a plan.
//!
//! Lowering asks the [`Target`]'s data only; it knows no code generator. It makes each distinct kernel once: kernels are
//! named by everything that shapes them, so equal names are equal kernels.
//!
//! `groups/` says what each group computes, where its operands lie and which weights it packs; the schedules of a target
//! kind, `cpu/` and `gpu/`, make the kernels through [`emit::Emit`].
//!
//! Per layer of a Llama-like model: q/k/v projection with rotation and cache writes, attention, output projection with
//! residual and next norm, gate/up projection with activation, down projection with residual and next norm. Norms per head,
//! norms between a projection and the residual stream, and `layer_norm` are launches of their own.

pub mod activation;
pub mod codes;
mod context;
pub mod cpu;
pub mod emit;
mod faults;
pub mod gate;
pub mod gpu;
mod groups;
pub mod heads;
pub mod launch;
pub mod softcap;

use slmc_ir::graph::Graph;
use slmc_ir::kernel::KernelModule;
use slmc_ir::plan::{Plan, Program};
use slmc_ir::target::Target;

use context::Lowering;
use cpu::Cpu;
use emit::Emit;
use gpu::Gpu;
use launch::Phase;

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

/// Lowers a fused graph for a target.
///
/// # Errors
/// [`LowerError::Unsupported`] names every group that has no schedule.
pub fn lower(graph: &Graph, target: &Target) -> Result<Lowered, LowerError> {
    match &target.gpu {
        None => lower_by(graph, target, &Cpu::new(target)),
        Some(gpu) => lower_by(graph, target, &Gpu::new(gpu)),
    }
}

fn lower_by(graph: &Graph, target: &Target, emit: &dyn Emit) -> Result<Lowered, LowerError> {
    let mut cx = Lowering::new(graph, target, emit)?;
    cx.plan.decode = cx.body(Phase::Decode);
    cx.plan.head_one = cx.head(Phase::HeadOne);
    cx.plan.prefill = cx.body(Phase::Prefill);
    cx.plan.head_many = cx.head(Phase::HeadMany);
    cx.pick();
    cx.check_limits();
    if !cx.faults.is_empty() {
        return Err(LowerError::Unsupported(cx.faults.into_sentences()));
    }
    cx.place_weights();
    Ok(Lowered { kernels: cx.kernels, plan: cx.plan })
}

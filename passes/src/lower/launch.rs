//! What launches a kernel: the list of the plan that it is for, the bounds of the model, and its grid.

use slmc_ir::kernel::{Kernel, StepBounds};
use slmc_ir::plan::Extent;

/// Most rows in one run of the head.
pub const HEAD_ROWS: u32 = 8;

/// Which list of the plan a kernel is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Body, T = 1.
    Decode,
    /// Body, more tokens.
    Prefill,
    /// Head, one row.
    HeadOne,
    /// Head, up to eight rows.
    HeadMany,
}

impl Phase {
    /// The part of a kernel's name that tells the phase.
    pub fn tag(self) -> &'static str {
        match self {
            Phase::Decode => "decode",
            Phase::Prefill => "prefill",
            Phase::HeadOne => "one",
            Phase::HeadMany => "many",
        }
    }
}

/// Bounds of the model that shape kernels.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most tokens in a step.
    pub chunk: u32,
    /// Most tokens in the cache.
    pub ctx: u32,
    /// Most rows in a run of the head.
    pub head_rows: u32,
}

impl Limits {
    /// Step bounds of a phase.
    pub fn bounds(&self, phase: Phase) -> StepBounds {
        let p = (0, self.ctx - 1);
        match phase {
            Phase::Decode => StepBounds { t: (1, 1), p, row: (0, 0) },
            Phase::Prefill => StepBounds { t: (1, self.chunk), p, row: (0, 0) },
            Phase::HeadOne => StepBounds { t: (1, 1), p, row: (0, self.chunk - 1) },
            Phase::HeadMany => StepBounds { t: (1, self.head_rows), p, row: (0, self.chunk - 1) },
        }
    }
    /// Rows of the step in a phase, at most.
    pub fn tokens(&self, phase: Phase) -> u32 {
        match phase {
            Phase::Decode | Phase::HeadOne => 1,
            Phase::Prefill => self.chunk,
            Phase::HeadMany => self.head_rows,
        }
    }
}

/// A kernel with the grid that launches it.
#[derive(Debug)]
pub struct Launch {
    /// The kernel.
    pub kernel: Kernel,
    /// Its grid.
    pub grid: [Extent; 3],
}

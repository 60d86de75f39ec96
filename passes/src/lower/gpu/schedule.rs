//! Schedule parameters of the GPU kernels, derived from target data.

use slmc_ir::target::Gpu;

use super::activation::{GROUP_LANES, QUAD};
use super::heads::BLOCK;

/// Parameters that shape every GPU kernel.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The device.
    pub gpu: Gpu,
    /// Words of weights that a lane of a decode kernel has on their way, about.
    pub words_ahead: u32,
}

impl Schedule {
    /// The schedule for a device.
    pub fn new(gpu: &Gpu) -> Self {
        Self { gpu: gpu.clone(), words_ahead: 16 }
    }
}

/// Columns of a part: what all formats are read by.
pub const PART: u32 = 32;

// A block's features are a group's, so that epilogues on blocks write whole groups.
const _: () = assert!(BLOCK == GROUP_LANES * QUAD && PART == BLOCK);

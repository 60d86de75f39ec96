//! The bias of a product, by quads.

use slmc_ir::kernel::{Access, BufId, KernelBuilder, ValueId};

use super::activation::{ALIGN, F32X4, GROUP_LANES, QUAD};
use crate::lower::emit::Frame;

/// The bias of each packed row, f32x4 [rows of the whole matrix / 4].
#[derive(Debug)]
pub struct Bias {
    buf: BufId,
    unit_blocks: u32,
}

impl Bias {
    /// Declares the parameter, if the frame has one.
    pub fn declare(b: &mut KernelBuilder, frame: &Frame) -> Option<Self> {
        let rows = frame.span.of * frame.unit_rows();
        frame.bias.then(|| Self { buf: b.param("bias", F32X4, rows / QUAD, Access::Read, ALIGN), unit_blocks: frame.unit_blocks })
    }

    /// Adds the bias of quad `place` of block `block` of a unit.
    pub fn add(&self, b: &mut KernelBuilder, unit: ValueId, block: u32, place: ValueId, quad: ValueId) -> ValueId {
        let at = b.mul(unit, self.unit_blocks * GROUP_LANES);
        let at = b.add(at, block * GROUP_LANES);
        let at = b.add(at, place);
        let bias = b.load(F32X4, self.buf, at);
        b.add(quad, bias)
    }
}

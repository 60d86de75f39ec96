//! The soft cap on scores and logits, as kernel code.

use slmc_ir::kernel::{KernelBuilder, UnaryOp, ValueId};

/// Emits `cap · tanh(x / cap)` of f32 lanes, or `x` where there is no cap.
pub fn capped(b: &mut KernelBuilder, x: ValueId, softcap: Option<f32>) -> ValueId {
    let Some(cap) = softcap else { return x };
    let inner = b.mul(x, 1.0 / cap);
    let t = b.unary(UnaryOp::Tanh, inner);
    b.mul(t, cap)
}

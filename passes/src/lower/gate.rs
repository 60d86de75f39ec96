//! The functions that gate a feed-forward layer, as kernel code.

use slmc_ir::kernel::{KernelBuilder, UnaryOp, ValueId};

/// Which function gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// `x / (1 + e^−x)`.
    Silu,
    /// The tanh form of GELU.
    GeluTanh,
}

impl Gate {
    /// The part of a kernel's name that tells the function.
    pub fn tag(self) -> &'static str {
        match self {
            Gate::Silu => "silu",
            Gate::GeluTanh => "gelu",
        }
    }

    /// Emits the function of `x`, f32 lanes.
    pub fn apply(self, b: &mut KernelBuilder, x: ValueId) -> ValueId {
        match self {
            Gate::Silu => silu(b, x),
            Gate::GeluTanh => gelu_tanh(b, x),
        }
    }
}

fn silu(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let n = b.unary(UnaryOp::Neg, x);
    let e = b.unary(UnaryOp::Exp, n);
    let d = b.add(e, 1.0f32);
    b.div(x, d)
}

fn gelu_tanh(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let square = b.mul(x, x);
    let inner = b.fma(square, 0.044_715f32, 1.0f32);
    let inner = b.mul(inner, x);
    let inner = b.mul(inner, 0.797_884_6f32);
    let t = b.unary(UnaryOp::Tanh, inner);
    let t = b.add(t, 1.0f32);
    let half = b.mul(x, 0.5f32);
    b.mul(half, t)
}

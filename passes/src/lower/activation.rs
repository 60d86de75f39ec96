//! Shapes of activations: rows that one kernel writes and the next `linear` reads. How they lie in the arena is each target
//! kind's own.
//!
//! A norm is split: its producer stores `x · weight` and, per 32 features, the sum of `x²`; its consumer multiplies results
//! by `1 / sqrt(mean(x²) + eps)`. Quantization is scale-free, so the quantized values are those of the normed row, and no
//! launch of its own reads the row again.

use slmc_ir::kernel::{KernelBuilder, Scalar, Type, UnaryOp, ValueId};

/// Features of an activation group, and of a unit of rows in kernels that produce activations.
pub const GROUP: u32 = 32;

/// Shape of activations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActShape {
    /// Whether they are a8g32.
    pub quantized: bool,
    /// Features.
    pub k: u32,
    /// Rows that the arena holds.
    pub rows: u32,
    /// The norm that the consumer finishes.
    pub norm: Option<SplitNorm>,
}

/// A norm whose factor is still missing from the rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SplitNorm {
    /// Features over which the mean runs.
    pub features: u32,
    /// Added to the mean.
    pub eps: f32,
}

impl ActShape {
    /// Features as stored.
    pub fn stride(&self) -> u32 {
        self.k.next_multiple_of(GROUP)
    }
    /// Groups of 32 features.
    pub fn groups(&self) -> u32 {
        self.stride() / GROUP
    }
    /// The part of a kernel's name that tells the shape.
    pub fn tag(&self) -> String {
        let norm = self.norm.map_or(String::new(), |n| format!("n{:x}", n.eps.to_bits()));
        format!("{}k{}r{}{norm}", if self.quantized { "a8" } else { "f32" }, self.k, self.rows)
    }
}

impl SplitNorm {
    /// Emits `1 / sqrt(mean(x²) + eps)` of a row from the sum of its squares, f32.
    pub fn factor(&self, b: &mut KernelBuilder, squares: ValueId) -> ValueId {
        let mean = b.mul(squares, 1.0 / self.features as f32);
        let mean = b.add(mean, self.eps);
        let root = b.unary(UnaryOp::Sqrt, mean);
        let one = b.constant(Type::scalar(Scalar::F32), 1.0f32);
        b.div(one, root)
    }
}

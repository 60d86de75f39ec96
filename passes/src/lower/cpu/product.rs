//! Inner loops of the matrix kernels: one block of rows times a few tokens.
//!
//! For quantized weights the integer sums of a group are formed without horizontal sums, by `dot4` over all lanes (`super::dots`)
//! or by `mmla` over pairs of tokens (`super::tiles`); the offset of unsigned values enters as the start value, which the producer
//! of the activations computed (`−8·Σa`). Scales are applied in vectors.

use slmc_ir::graph::DType;
use slmc_ir::kernel::{BufId, KernelBuilder, Scalar, Type, ValueId};
use slmc_ir::plan::MatrixLayout;

use super::activation::ActParams;
use super::groups::Groups;
use super::schedule::Schedule;
use super::{dots, tiles};
use crate::lower::activation::GROUP;

/// One block of rows times `tokens` rows of activations.
#[derive(Debug)]
pub struct Product<'a> {
    /// How the matrix lies in memory.
    pub layout: MatrixLayout,
    /// Columns, as packed.
    pub k: u32,
    /// The matrix parameter.
    pub weights: BufId,
    /// The activations.
    pub act: &'a ActParams,
    /// Tokens computed together.
    pub tokens: u32,
    /// Prefetch distance in bytes; 0 for none.
    pub prefetch_bytes: u32,
    /// Groups in a round of the loop over columns.
    pub unroll: u32,
}

impl Product<'_> {
    /// Element type of the matrix parameter.
    pub fn weight_elem(layout: &MatrixLayout) -> Type {
        match layout.dtype {
            DType::F32 => Type::scalar(Scalar::F32),
            DType::F16 => Type::scalar(Scalar::F16),
            DType::Bf16 => Type::scalar(Scalar::Bf16),
            DType::Q4 { .. } | DType::Q6 | DType::Q8 | DType::A8 | DType::U32 => Type::scalar(Scalar::U8),
        }
    }

    /// Elements of the matrix parameter that one block takes.
    pub fn block_elems(layout: &MatrixLayout, k: u32) -> u32 {
        (layout.block_bytes(k) / u64::from(Self::weight_elem(layout).bytes())) as u32
    }

    /// Emits the loop over K. `block` is the block's index, `row` the first token's row of the activations. Gives one
    /// f32 vector of row sums per token.
    pub fn emit(&self, b: &mut KernelBuilder, sched: &Schedule, block: ValueId, row: ValueId) -> Vec<ValueId> {
        let start = b.mul(block, Self::block_elems(&self.layout, self.k));
        match self.act {
            ActParams::A8 { q, s, z } => {
                let groups = Groups { product: self, q: *q, s: *s, z: *z, start, row };
                if self.layout.k_step == 8 && self.tokens > 1 { tiles::emit(b, sched, &groups) } else { dots::emit(b, sched, &groups) }
            }
            ActParams::F32 { x } => self.emit_float(b, sched, *x, start, row),
        }
    }

    fn emit_float(&self, b: &mut KernelBuilder, sched: &Schedule, x: BufId, start: ValueId, row: ValueId) -> Vec<ValueId> {
        let lanes = sched.lanes;
        let vec = Type::vector(Scalar::F32, lanes);
        let wty = Type::vector(Self::weight_elem(&self.layout).scalar, lanes);
        let ActParams::F32 { .. } = self.act else { unreachable!("invariant: float activations") };
        let stride = self.k.next_multiple_of(GROUP);
        // One token has too few sums in flight to hide the latency of fma; its columns are dealt to several sums.
        let step = super::schedule::divisor_at_most(self.k, 4);
        let parts = if self.tokens == 1 { step } else { 1 };
        let sums: Vec<_> = (0..self.tokens * parts).map(|_| b.var(vec, 0.0f32)).collect();
        let x0 = b.mul(row, stride);
        b.for_(0u32, self.k, step, |b, k| {
            let w0 = b.mul(k, u32::from(lanes));
            let w0 = b.add(start, w0);
            let xk = b.add(x0, k);
            for i in 0..step {
                let wi = b.add(w0, i * u32::from(lanes));
                let mut w = b.load(wty, self.weights, wi);
                if wty != vec {
                    w = b.convert(w, Scalar::F32);
                }
                for t in 0..self.tokens {
                    let xi = b.add(xk, t * stride + i);
                    let a = b.load(Type::scalar(Scalar::F32), x, xi);
                    let a = b.repeat(a, lanes);
                    let sum = sums[(t * parts + i % parts) as usize];
                    let old = b.get(sum);
                    let new = b.fma(w, a, old);
                    b.set(sum, new);
                }
            }
        });
        (0..self.tokens)
            .map(|t| {
                let mut total = b.get(sums[(t * parts) as usize]);
                for i in 1..parts {
                    let part = b.get(sums[(t * parts + i) as usize]);
                    total = b.add(total, part);
                }
                total
            })
            .collect()
    }
}

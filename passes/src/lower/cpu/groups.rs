//! The walk over the groups of a quantized block of rows, and what a group's part of 32 columns reads.

use slmc_ir::kernel::{BinaryOp, BufId, KernelBuilder, Scalar, Type, ValueId};

use super::product::Product;
use super::schedule::LINE;
use super::unpack::Unpack;
use crate::lower::activation::GROUP;
use crate::lower::codes::code_offset;

/// A product of quantized weights and activations.
#[derive(Debug)]
pub struct Groups<'a> {
    /// What is multiplied.
    pub product: &'a Product<'a>,
    /// Values of the activations, i8 [rows, K].
    pub q: BufId,
    /// Their scales, f32 [rows, K/32].
    pub s: BufId,
    /// Their start values, i32 [rows, K/32].
    pub z: BufId,
    /// Where the block begins.
    pub start: ValueId,
    /// The first token's row of the activations.
    pub row: ValueId,
}

/// Thirty-two columns of a group.
#[derive(Debug)]
pub struct Part<'a> {
    groups: &'a Groups<'a>,
    /// Where the group begins in the weights, and its columns in the first token's values and scales.
    at: ValueId,
    q_at: ValueId,
    s_at: ValueId,
    index: u32,
}

impl Groups<'_> {
    fn parts(&self) -> u32 {
        self.product.layout.group() / GROUP
    }

    fn part_bytes(&self) -> u32 {
        (self.product.layout.group_bytes() - 2 * u32::from(self.product.layout.lanes)) / self.parts()
    }

    /// Emits the loop: `body` for every 32 columns.
    pub fn walk(&self, b: &mut KernelBuilder, body: impl Fn(&mut KernelBuilder, &Part<'_>)) {
        let Product { layout, k, weights, prefetch_bytes, unroll, .. } = *self.product;
        let (group_bytes, parts) = (layout.group_bytes(), self.parts());
        let q0 = b.mul(self.row, k);
        let s0 = b.mul(self.row, k / GROUP);
        b.for_unrolled(0u32, k / layout.group(), 1, unroll, |b, g| {
            let at = b.mul(g, group_bytes);
            let at = b.add(self.start, at);
            let q_at = b.mul(g, layout.group());
            let q_at = b.add(q0, q_at);
            let s_at = b.mul(g, parts);
            let s_at = b.add(s0, s_at);
            if prefetch_bytes > 0 {
                for line in 0..group_bytes.div_ceil(LINE) {
                    let ahead = b.add(at, prefetch_bytes + line * LINE);
                    b.prefetch(weights, ahead);
                }
            }
            for index in 0..parts {
                body(b, &Part { groups: self, at, q_at, s_at, index });
            }
        });
    }
}

impl Part<'_> {
    /// The value bytes of rows `first..first + rows`.
    pub fn unpack(&self, first: u16, rows: u16) -> Unpack {
        let product = self.groups.product;
        Unpack::new(product.layout, product.weights, self.at, self.index * self.groups.part_bytes(), first, rows)
    }

    /// The weights' scales of rows `first..first + rows`, f32.
    pub fn scales(&self, b: &mut KernelBuilder, first: u16, rows: u16) -> ValueId {
        let groups = self.groups;
        let at = b.add(self.at, groups.parts() * groups.part_bytes() + 2 * u32::from(first));
        let scale = b.load(Type::vector(Scalar::F16, rows), groups.product.weights, at);
        b.convert(scale, Scalar::F32)
    }

    /// `ty` of the values of token `t`, from column `column` of these.
    pub fn values(&self, b: &mut KernelBuilder, t: u32, column: u32, ty: Type) -> ValueId {
        let at = b.add(self.q_at, t * self.groups.product.k + self.index * GROUP + column);
        b.load(ty, self.groups.q, at)
    }

    /// The scale of token `t`.
    pub fn act_scale(&self, b: &mut KernelBuilder, t: u32) -> ValueId {
        let at = self.token(b, t);
        b.load(Type::scalar(Scalar::F32), self.groups.s, at)
    }

    /// What the sums of a row for token `t` start with, dealt evenly to `shares` (1 or 2) of them; `None` for zero.
    pub fn start(&self, b: &mut KernelBuilder, t: u32, shares: u32) -> Option<ValueId> {
        let offset = code_offset(&self.groups.product.layout);
        if offset == 0 {
            return None;
        }
        let at = self.token(b, t);
        let z = b.load(Type::scalar(Scalar::I32), self.groups.z, at);
        // Both are powers of two; the stored value is a multiple of eight.
        let (factor, stored) = (offset / shares, 8);
        Some(match factor {
            f if f > stored => b.binary(BinaryOp::Shl, z, (f / stored).trailing_zeros()),
            f if f < stored => b.binary(BinaryOp::Shr, z, (stored / f).trailing_zeros()),
            _ => z,
        })
    }

    fn token(&self, b: &mut KernelBuilder, t: u32) -> ValueId {
        b.add(self.s_at, t * (self.groups.product.k / GROUP) + self.index)
    }
}

/// The vectors one after the other; their number is a power of two.
pub fn join(b: &mut KernelBuilder, vectors: &[ValueId]) -> ValueId {
    match vectors {
        [one] => *one,
        _ => {
            let (low, high) = vectors.split_at(vectors.len() / 2);
            let (low, high) = (join(b, low), join(b, high));
            let lanes = 2 * b.ty(low).lanes;
            b.shuffle(low, high, (0..lanes).collect())
        }
    }
}

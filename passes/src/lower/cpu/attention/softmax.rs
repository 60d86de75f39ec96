//! The online softmax: scores of a step become weights, and what was summed before gets its factor.

use slmc_ir::kernel::{KernelBuilder, ReduceOp, Scalar, Type, UnaryOp, ValueId};

use super::{Emitter, LOWEST, Tile};
use crate::lower::activation::GROUP;

impl Emitter<'_> {
    pub(super) fn softmax(&self, b: &mut KernelBuilder, tile: &Tile, vectors: ValueId) {
        let lanes = u32::from(self.sched.lanes);
        let f32s = Type::scalar(Scalar::F32);
        let vec = Type::vector(Scalar::F32, self.sched.lanes);
        b.for_(0u32, tile.heads * tile.tokens, 1, |b, r| {
            let row = b.mul(r, self.sched.attention_positions);
            let most = b.var(vec, LOWEST);
            b.for_(0u32, vectors, 1, |b, j| {
                let at = b.mul(j, lanes);
                let at = b.add(row, at);
                let s = b.load(vec, tile.scores, at);
                let old = b.get(most);
                let new = b.max(old, s);
                b.set(most, new);
            });
            let most = b.get(most);
            let most = b.reduce(ReduceOp::Max, most);
            let before = b.load(f32s, tile.most, r);
            let most = b.max(before, most);
            b.store(tile.most, r, most);
            let shift = b.sub(before, most);
            let factor = b.unary(UnaryOp::Exp, shift);
            b.store(tile.factor, r, factor);
            let wide = b.repeat(most, self.sched.lanes);
            let total = b.var(vec, 0.0f32);
            b.for_(0u32, vectors, 1, |b, j| {
                let at = b.mul(j, lanes);
                let at = b.add(row, at);
                let s = b.load(vec, tile.scores, at);
                let s = b.sub(s, wide);
                let e = b.unary(UnaryOp::Exp, s);
                b.store(tile.scores, at, e);
                let old = b.get(total);
                let new = b.add(old, e);
                b.set(total, new);
            });
            let total = b.get(total);
            let total = b.reduce(ReduceOp::Add, total);
            let old = b.load(f32s, tile.total, r);
            let new = b.fma(old, factor, total);
            b.store(tile.total, r, new);
        });
    }

    /// Multiplies the weights by the scales of the values, for each group of dims.
    pub(super) fn weigh(&self, b: &mut KernelBuilder, tile: &Tile, kv_head: ValueId, place: ValueId, vectors: ValueId) {
        let lanes = u32::from(self.sched.lanes);
        let vec = Type::vector(Scalar::F32, self.sched.lanes);
        let rows = tile.heads * tile.tokens;
        b.for_(0u32, self.what.heads.dims / GROUP, 1, |b, group| {
            let to = b.mul(group, rows * self.sched.attention_positions);
            b.for_(0u32, vectors, 1, |b, j| {
                let column = b.mul(j, lanes);
                let position = b.add(place, column);
                let scales = tile.v.scales(b, kv_head, position, group);
                let to = b.add(to, column);
                for r in 0..rows {
                    let row = r * self.sched.attention_positions;
                    let at = b.add(column, row);
                    let weight = b.load(vec, tile.scores, at);
                    let weight = b.mul(weight, scales);
                    let to = b.add(to, row);
                    b.store(tile.weights, to, weight);
                }
            });
        });
    }
}

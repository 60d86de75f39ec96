//! Scores of a step: queries times keys, `[rows, positions]`.

use slmc_ir::kernel::{KernelBuilder, Scalar, Type, ValueId};

use super::{Emitter, Tile};
use crate::lower::activation::GROUP;
use crate::lower::cpu::schedule::{LINE, divisor_at_most};
use crate::lower::softcap::capped;

impl Emitter<'_> {
    pub(super) fn scores(&self, b: &mut KernelBuilder, tile: &Tile, kv_head: ValueId, place: ValueId, vectors: ValueId) {
        let h = self.what.heads;
        let lanes = u32::from(self.sched.lanes);
        let rows = tile.heads * tile.tokens;
        let vec = Type::vector(Scalar::F32, self.sched.lanes);
        let first = b.mul(kv_head, h.positions);
        let first = b.add(first, place);
        let first = b.mul(first, h.dims);
        b.for_(0u32, vectors, 1, |b, j| {
            let at = b.mul(j, lanes * h.dims);
            let at = b.add(first, at);
            let sums = if tile.k.has_scales() {
                let totals: Vec<_> = (0..rows).map(|_| b.var(vec, 0.0f32)).collect();
                let column = b.mul(j, lanes);
                let position = b.add(place, column);
                b.for_(0u32, h.dims / GROUP, 1, |b, group| {
                    let scales = tile.k.scales(b, kv_head, position, group);
                    let begin = b.mul(group, GROUP);
                    let sums = self.products(b, tile, at, begin, GROUP);
                    for (sum, &total) in sums.into_iter().zip(&totals) {
                        let old = b.get(total);
                        let new = b.fma(sum, scales, old);
                        b.set(total, new);
                    }
                });
                totals.into_iter().map(|total| b.get(total)).collect()
            } else {
                let begin = b.constant(Type::INDEX, 0u32);
                self.products(b, tile, at, begin, h.dims)
            };
            let column = b.mul(j, lanes);
            for (sum, r) in sums.into_iter().zip(0..) {
                let sum = capped(b, sum, self.what.softcap);
                let to = b.add(column, r * self.sched.attention_positions);
                b.store(tile.scores, to, sum);
            }
        });
    }

    /// Products of each row's query and the numbers of the keys of a vector of positions, which begin at `at`, over `count` dims from
    /// `begin` on.
    fn products(&self, b: &mut KernelBuilder, tile: &Tile, at: ValueId, begin: ValueId, count: u32) -> Vec<ValueId> {
        let h = self.what.heads;
        let lanes = u32::from(self.sched.lanes);
        let rows = tile.heads * tile.tokens;
        // Few rows leave fma latency open; their dims are dealt to two sums.
        let parts = if rows < 8 { 2 } else { 1 };
        let zero = Type::vector(Scalar::F32, self.sched.lanes);
        let sums: Vec<_> = (0..rows * parts).map(|_| b.var(zero, 0.0f32)).collect();
        // With a prefetch, at least the dims of a line.
        let line = LINE / (lanes * tile.k.number_bytes()).min(LINE);
        let columns = if self.ahead() == 0 { parts } else { divisor_at_most(count, line.max(parts)) };
        b.for_unrolled(0u32, count, columns, 2, |b, d| {
            let first_dim = b.add(begin, d);
            let from = b.mul(first_dim, lanes);
            let from = b.add(at, from);
            if self.ahead() > 0 {
                tile.k.prefetch(b, from, columns * lanes, self.ahead());
            }
            for column in 0..columns {
                let part = column % parts;
                let d = b.add(first_dim, column);
                let from = b.mul(d, lanes);
                let from = b.add(at, from);
                let key = tile.k.load(b, from);
                for r in 0..rows {
                    let qi = b.add(d, r * h.dims);
                    let q = b.load(Type::scalar(Scalar::F32), tile.queries, qi);
                    let q = b.repeat(q, self.sched.lanes);
                    let sum = sums[(r * parts + part) as usize];
                    let old = b.get(sum);
                    let new = b.fma(key, q, old);
                    b.set(sum, new);
                }
            }
        });
        (0..rows)
            .map(|r| {
                let mut sum = b.get(sums[(r * parts) as usize]);
                for part in 1..parts {
                    let more = b.get(sums[(r * parts + part) as usize]);
                    sum = b.add(sum, more);
                }
                sum
            })
            .collect()
    }
}

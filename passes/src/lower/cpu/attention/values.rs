//! Weighted values of a step, added to the sums of each row, `[rows, dims]`.

use slmc_ir::kernel::{KernelBuilder, Scalar, Type, ValueId};

use super::{Emitter, Tile};
use crate::lower::activation::GROUP;
use crate::lower::cpu::schedule::divisor_at_most;

impl Emitter<'_> {
    pub(super) fn values(&self, b: &mut KernelBuilder, tile: &Tile, kv_head: ValueId, place: ValueId, count: ValueId) {
        let h = self.what.heads;
        let lanes = u32::from(self.sched.lanes);
        let vec = Type::vector(Scalar::F32, self.sched.lanes);
        let f32s = Type::scalar(Scalar::F32);
        let rows = tile.heads * tile.tokens;
        let width = h.dims / lanes;
        // Rows and vectors of a register block.
        let block_vectors = divisor_at_most(width, self.sched.value_registers);
        let block_rows = divisor_at_most(rows, (self.sched.value_registers / block_vectors).max(1));
        let first = b.mul(kv_head, h.positions);
        let first = b.add(first, place);
        let first = b.mul(first, h.dims);
        for v0 in (0..width).step_by(block_vectors as usize) {
            b.for_(0u32, rows, block_rows, |b, r0| {
                let r0 = b.min(r0, rows - block_rows);
                let mut sums = Vec::new();
                for r in 0..block_rows {
                    let row = b.add(r0, r);
                    let factor = b.load(f32s, tile.factor, row);
                    let factor = b.repeat(factor, self.sched.lanes);
                    let at = b.mul(row, h.dims);
                    for v in 0..block_vectors {
                        let at = b.add(at, (v0 + v) * lanes);
                        let old = b.load(vec, tile.sums, at);
                        let old = b.mul(old, factor);
                        sums.push(b.var(vec, old));
                    }
                }
                let weights = b.mul(r0, self.sched.attention_positions);
                b.for_(0u32, count, 1, |b, i| {
                    let at = b.mul(i, h.dims);
                    let at = b.add(first, at);
                    let values: Vec<ValueId> = (0..block_vectors)
                        .map(|v| {
                            let at = b.add(at, (v0 + v) * lanes);
                            tile.v.load(b, at)
                        })
                        .collect();
                    if self.ahead() > 0 {
                        let from = b.add(at, v0 * lanes);
                        tile.v.prefetch(b, from, block_vectors * lanes, self.ahead());
                    }
                    let wi = b.add(weights, i);
                    for r in 0..block_rows {
                        let at = b.add(wi, r * self.sched.attention_positions);
                        let mut of_group: Option<(u32, ValueId)> = None;
                        for v in 0..block_vectors {
                            let group = if tile.v.has_scales() { (v0 + v) * lanes / GROUP } else { 0 };
                            let w = match of_group {
                                Some((same, w)) if same == group => w,
                                _ => {
                                    let at = b.add(at, group * rows * self.sched.attention_positions);
                                    let w = b.load(f32s, tile.weights, at);
                                    b.repeat(w, self.sched.lanes)
                                }
                            };
                            of_group = Some((group, w));
                            let sum = sums[(r * block_vectors + v) as usize];
                            let old = b.get(sum);
                            let new = b.fma(values[v as usize], w, old);
                            b.set(sum, new);
                        }
                    }
                });
                for r in 0..block_rows {
                    let row = b.add(r0, r);
                    let at = b.mul(row, h.dims);
                    for v in 0..block_vectors {
                        let at = b.add(at, (v0 + v) * lanes);
                        let sum = b.get(sums[(r * block_vectors + v) as usize]);
                        b.store(tile.sums, at, sum);
                    }
                }
            });
        }
    }
}

//! The pass over the cache: scores, online softmax and weighted values of a block of positions.

use slmc_ir::kernel::{BufId, CmpOp, KernelBuilder, ReduceOp, UnaryOp, ValueId, VarId};

use super::super::activation::F32;
use super::super::reduce::{Reducer, vector_of};
use super::{Attention, Tile};
use crate::lower::softcap::capped;

/// Lower than every score, and finite so that differences of scores are.
pub(super) const LOWEST: f32 = -1e30;
/// Positions whose values a lane loads before it uses them, and pairs of a key.
const AHEAD: u32 = 8;
/// A number of each row, kept by every lane.
pub(super) fn state(b: &mut KernelBuilder, tile: &Tile, first: f32) -> Vec<VarId> {
    (0..tile.vectors()).map(|_| b.var(tile.vec(), first)).collect()
}

/// Token and head within the tile of each row of a vector.
fn places(tile: Tile, vector: u32) -> impl Iterator<Item = (u32, u32)> {
    let width = u32::from(tile.width());
    (vector * width..(vector + 1) * width).map(move |row| tile.place(row))
}

/// Of each vector of rows, the positions that the rows see: one number if it is equal for all, else a vector.
pub(super) fn limits(b: &mut KernelBuilder, tile: Tile, p: ValueId, t_begin: ValueId) -> Vec<ValueId> {
    let before = b.add(p, t_begin);
    (0..tile.vectors())
        .map(|g| {
            let tokens: Vec<u32> = places(tile, g).map(|(t, _)| t).collect();
            if tokens.iter().all(|&t| t == tokens[0]) {
                return b.add(before, tokens[0] + 1);
            }
            let limits: Vec<ValueId> = tokens.iter().map(|t| b.add(before, t + 1)).collect();
            vector_of(b, &limits)
        })
        .collect()
}

/// The greatest divisor of `n` that is at most `limit`.
fn divisor_at_most(n: u32, limit: u32) -> u32 {
    (1..=limit.min(n)).rev().find(|d| n.is_multiple_of(*d)).unwrap_or(1)
}

/// What the code of a kernel's parts shares.
pub(super) struct Body<'a> {
    pub(super) at: &'a Attention<'a>,
    pub(super) tile: Tile,
    pub(super) k: BufId,
    pub(super) v: BufId,
    /// `[vectors, dims]`: queries, scaled; in the end results.
    pub(super) rows: BufId,
    /// `[vectors, positions of a block]`: e^(score − most).
    pub(super) weights: BufId,
    pub(super) reducer: Reducer,
    pub(super) lane: ValueId,
    pub(super) t_begin: ValueId,
    pub(super) t_end: ValueId,
    /// First head of the tile.
    pub(super) head: ValueId,
    pub(super) kv_head: ValueId,
    /// The last position that any row sees.
    pub(super) last: ValueId,
    /// Lanes of a slice.
    pub(super) width: u32,
    /// Slices of a block's positions; lanes beyond idle while values are summed.
    pub(super) slices: u32,
    pub(super) slice: ValueId,
    /// First of the pairs of dims that a lane sums; the others follow at steps of `width`.
    pub(super) pair: ValueId,
    /// Of each vector of rows, positions that the rows see: a number if equal for all, else a vector.
    pub(super) limits: Vec<ValueId>,
    pub(super) most: Vec<VarId>,
    /// Of the lane's own positions.
    pub(super) total: Vec<VarId>,
    /// By column of pairs: both dims' sums over the lane's slice.
    pub(super) sums: Vec<[Vec<VarId>; 2]>,
}

impl Body<'_> {
    fn block(&self) -> u32 {
        self.tile.segments * self.at.gpu.lanes
    }

    /// Copies the tile's queries, scaled.
    pub(super) fn load_queries(&self, b: &mut KernelBuilder, q: BufId, t_all: ValueId) {
        let h = self.at.heads;
        let last = b.max(t_all, 1u32);
        let last = b.sub(last, 1u32);
        for g in 0..self.tile.vectors() {
            b.for_(self.lane, h.dims, self.at.gpu.lanes, |b, dim| {
                let parts: Vec<ValueId> = places(self.tile, g)
                    .map(|(t, hh)| {
                        let token = b.add(self.t_begin, t);
                        let token = b.min(token, last);
                        let head = b.add(self.head, hh);
                        let from = h.query_index(b, token, head, dim);
                        b.load(F32, q, from)
                    })
                    .collect();
                let v = vector_of(b, &parts);
                let v = b.mul(v, self.at.scale);
                let to = b.add(dim, g * h.dims);
                b.store(self.rows, to, v);
            });
        }
        b.barrier();
    }

    /// The scores of the lane's positions, by segment and vector of rows; of what a row may not see, [`LOWEST`].
    pub(super) fn scores(&self, b: &mut KernelBuilder, base: ValueId, count: ValueId) -> Vec<Vec<VarId>> {
        (0..self.tile.segments)
            .map(|m| {
                let scores = state(b, &self.tile, LOWEST);
                self.if_segment(b, m, count, |b| {
                    let position = b.add(base, self.lane);
                    let position = b.add(position, m * self.at.gpu.lanes);
                    for (g, s) in self.products(b, position).into_iter().enumerate() {
                        let limit = self.limits[g];
                        let position = b.repeat(position, b.ty(limit).lanes);
                        let s = capped(b, s, self.at.softcap);
                        let seen = b.cmp(CmpOp::Lt, position, limit);
                        let mut s = b.select(seen, s, LOWEST);
                        if let Some(window) = self.at.heads.window {
                            let reach = b.add(position, window);
                            let seen = b.cmp(CmpOp::Ge, reach, limit);
                            s = b.select(seen, s, LOWEST);
                        }
                        b.set(scores[g], s);
                    }
                });
                scores
            })
            .collect()
    }

    /// Code for a segment of the block, if it holds positions: the same for all lanes.
    fn if_segment(&self, b: &mut KernelBuilder, segment: u32, count: ValueId, code: impl FnOnce(&mut KernelBuilder)) {
        if segment == 0 {
            return code(b);
        }
        let some = b.cmp(CmpOp::Gt, count, segment * self.at.gpu.lanes);
        b.if_(some, code);
    }

    /// `q · k` of all rows at a position.
    fn products(&self, b: &mut KernelBuilder, position: ValueId) -> Vec<ValueId> {
        let (h, vec) = (self.at.heads, self.tile.vec());
        let here = b.min(position, self.last);
        let key = h.key_index(b, self.kv_head, here);
        // Few rows leave latency open; the two dims of a pair are summed apart.
        let parts = if self.tile.vectors() == 1 { 2 } else { 1 };
        let sums: Vec<VarId> = (0..parts * self.tile.vectors()).map(|_| b.var(vec, 0.0f32)).collect();
        let step = divisor_at_most(h.pairs(), AHEAD);
        b.for_(0u32, h.pairs(), step, |b, first| {
            let pairs: Vec<ValueId> = (0..step)
                .map(|u| {
                    let pair = b.add(first, u);
                    let at = h.key_pair(b, key, pair);
                    h.load_pair(b, self.k, at)
                })
                .collect();
            let dim = b.mul(first, 2u32);
            let mut now: Vec<ValueId> = sums.iter().map(|&s| b.get(s)).collect();
            for (u, pair) in (0u32..).zip(pairs) {
                for half in 0..2u32 {
                    let k = b.extract(pair, half as u16);
                    let k = b.repeat(k, vec.lanes);
                    for g in 0..self.tile.vectors() {
                        let at = b.add(dim, g * h.dims + 2 * u + half);
                        let q = b.load(vec, self.rows, at);
                        let sum = &mut now[(g * parts + half % parts) as usize];
                        *sum = b.fma(q, k, *sum);
                    }
                }
            }
            for (&var, sum) in sums.iter().zip(now) {
                b.set(var, sum);
            }
        });
        sums.chunks(parts as usize)
            .map(|parts| {
                let first = b.get(parts[0]);
                parts[1..].iter().fold(first, |sum, &part| {
                    let part = b.get(part);
                    b.add(sum, part)
                })
            })
            .collect()
    }

    /// Turns scores into weights in workgroup memory; gives the factors for what was summed under the maxima before.
    pub(super) fn softmax(&self, b: &mut KernelBuilder, count: ValueId, scores: &[Vec<VarId>]) -> Vec<ValueId> {
        let mine: Vec<ValueId> = (0..self.most.len())
            .map(|g| {
                let first = b.get(scores[0][g]);
                scores[1..].iter().fold(first, |most, segment| {
                    let s = b.get(segment[g]);
                    b.max(most, s)
                })
            })
            .collect();
        // The last block's weights are read until its barriers, which stand before the stores below.
        let block = self.reducer.all_settled(b, ReduceOp::Max, &mine);
        let mut factors = Vec::new();
        let mut most = Vec::new();
        for (g, block) in block.into_iter().enumerate() {
            let before = b.get(self.most[g]);
            let now = b.max(before, block);
            b.set(self.most[g], now);
            let shift = b.sub(before, now);
            let factor = b.unary(UnaryOp::Exp, shift);
            let total = b.get(self.total[g]);
            let total = b.mul(total, factor);
            b.set(self.total[g], total);
            most.push(now);
            factors.push(factor);
        }
        for (m, scores) in (0u32..).zip(scores) {
            self.if_segment(b, m, count, |b| {
                for (g, &most) in most.iter().enumerate() {
                    let s = b.get(scores[g]);
                    let shifted = b.sub(s, most);
                    let e = b.unary(UnaryOp::Exp, shifted);
                    let seen = b.cmp(CmpOp::Gt, s, 0.5 * LOWEST);
                    let e = b.select(seen, e, 0.0f32);
                    let to = b.add(self.lane, g as u32 * self.block() + m * self.at.gpu.lanes);
                    b.store(self.weights, to, e);
                    let total = b.get(self.total[g]);
                    let total = b.add(total, e);
                    b.set(self.total[g], total);
                }
            });
        }
        b.barrier();
        factors
    }

    /// Adds weights · values of the lane's slice of the block.
    pub(super) fn values(&self, b: &mut KernelBuilder, base: ValueId, count: ValueId, factors: &[ValueId]) {
        for halves in &self.sums {
            for half in halves {
                for (&sum, &factor) in half.iter().zip(factors) {
                    let old = b.get(sum);
                    let new = b.mul(old, factor);
                    b.set(sum, new);
                }
            }
        }
        let columns = self.sums.len() as u32;
        let ahead = (AHEAD / columns).max(1).min(self.block() / self.slices);
        let whole = ahead * self.slices;
        let add = |b: &mut KernelBuilder| {
            let full = b.div(count, whole);
            let full = b.mul(full, whole);
            b.for_(0u32, full, whole, |b, first| {
                let first = b.add(first, self.slice);
                let places: Vec<ValueId> = (0..ahead).map(|u| b.add(first, u * self.slices)).collect();
                self.add_values(b, base, &places);
            });
            let first = b.add(full, self.slice);
            b.for_(first, count, self.slices, |b, place| self.add_values(b, base, &[place]));
        };
        if self.slices * self.width == self.at.gpu.lanes {
            add(b);
        } else {
            let has = b.cmp(CmpOp::Lt, self.slice, self.slices);
            b.if_(has, add);
        }
    }

    /// Adds weights · values at places of a block.
    fn add_values(&self, b: &mut KernelBuilder, base: ValueId, places: &[ValueId]) {
        let (h, vec) = (self.at.heads, self.tile.vec());
        let columns = self.sums.len() as u32;
        let mut loaded = Vec::new();
        for &place in places {
            let position = b.add(base, place);
            // Changes nothing; it tells the verifier what a count of whole runs hides.
            let position = b.min(position, self.last);
            let first = h.value_index(b, self.kv_head, position);
            for c in 0..columns {
                let pair = self.column(b, c);
                let pair = b.min(pair, h.pairs() - 1);
                let at = b.add(first, pair);
                loaded.push(h.load_pair(b, self.v, at));
            }
        }
        let mut now: Vec<ValueId> = self.sums.iter().flatten().flatten().map(|&s| b.get(s)).collect();
        for (&place, pairs) in places.iter().zip(loaded.chunks(columns as usize)) {
            let weights: Vec<ValueId> = (0..self.tile.vectors())
                .map(|g| {
                    let at = b.add(place, g * self.block());
                    b.load(vec, self.weights, at)
                })
                .collect();
            let mut sums = now.iter_mut();
            for &pair in pairs {
                for half in 0..2 {
                    let v = b.extract(pair, half);
                    let v = b.repeat(v, vec.lanes);
                    for (&w, sum) in weights.iter().zip(&mut sums) {
                        *sum = b.fma(w, v, *sum);
                    }
                }
            }
        }
        for (&var, sum) in self.sums.iter().flatten().flatten().zip(now) {
            b.set(var, sum);
        }
    }

    /// The lane's pair of a column.
    pub(super) fn column(&self, b: &mut KernelBuilder, column: u32) -> ValueId {
        if column == 0 { self.pair } else { b.add(self.pair, column * self.width) }
    }
}

//! What follows the pass: slices of positions meet in workgroup memory, and results become activations.

use slmc_ir::kernel::{BinaryOp, CmpOp, KernelBuilder, ReduceOp, ValueId};

use super::super::activation::{ActParams, Exchange, GROUP_LANES, QUAD, Quad, store_quads};
use super::super::reduce::{scalars_of, vector_of};
use super::combine::Part;
use super::pass::Body;
use crate::lower::activation::GROUP;

impl Body<'_> {
    /// The sums of weights of all rows, which every lane gets.
    pub(super) fn totals(&self, b: &mut KernelBuilder) -> Vec<ValueId> {
        let totals: Vec<ValueId> = self.total.iter().map(|&t| b.get(t)).collect();
        self.reducer.all_settled(b, ReduceOp::Add, &totals)
    }

    /// Adds up the slices in `rows`, divided by the totals if these are given.
    pub(super) fn gather(&self, b: &mut KernelBuilder, totals: Option<&[ValueId]>) {
        let h = self.at.heads;
        let one = b.constant(self.tile.vec(), 1.0f32);
        let factors: Option<Vec<ValueId>> = totals.map(|totals| totals.iter().map(|&total| b.div(one, total)).collect());
        let put = |b: &mut KernelBuilder, add: bool| {
            for (c, halves) in (0u32..).zip(&self.sums) {
                let pair = self.column(b, c);
                let column = |b: &mut KernelBuilder| {
                    let dim = b.mul(pair, 2u32);
                    for (half, sums) in (0u32..).zip(halves) {
                        for (g, &sum) in (0u32..).zip(sums) {
                            let at = b.add(dim, g * h.dims + half);
                            let sum = b.get(sum);
                            let mut sum = factors.as_ref().map_or(sum, |factors| b.mul(sum, factors[g as usize]));
                            if add {
                                let before = b.load(self.tile.vec(), self.rows, at);
                                sum = b.add(before, sum);
                            }
                            b.store(self.rows, at, sum);
                        }
                    }
                };
                if (c + 1) * self.width <= h.pairs() {
                    column(b);
                } else {
                    let has = b.cmp(CmpOp::Lt, pair, h.pairs());
                    b.if_(has, column);
                }
            }
        };
        let first = b.cmp(CmpOp::Eq, self.slice, 0u32);
        b.if_(first, |b| put(b, false));
        b.barrier();
        b.for_(1u32, self.slices, 1, |b, turn| {
            let mine = b.cmp(CmpOp::Eq, self.slice, turn);
            b.if_(mine, |b| put(b, true));
            b.barrier();
        });
    }

    /// Of row `vector · width + place` of the tile: the row of the activations, the head, and whether it is one of the step's.
    fn row(&self, b: &mut KernelBuilder, vector: ValueId, place: u32) -> (ValueId, ValueId, ValueId) {
        let row = b.mul(vector, u32::from(self.tile.width()));
        let row = b.add(row, place);
        let token = b.div(row, self.tile.heads);
        let head = b.binary(BinaryOp::Rem, row, self.tile.heads);
        // Rows that are missing have tokens past the tile's.
        let token = b.add(self.t_begin, token);
        let inside = b.cmp(CmpOp::Lt, token, self.t_end);
        (b.min(token, self.at.out.rows - 1), b.add(self.head, head), inside)
    }

    /// Stores what a span of positions gives: sums of weighted values, and of each row (most, total).
    pub(super) fn store_part(&self, b: &mut KernelBuilder, part: Part, span: ValueId, totals: &[ValueId]) {
        let (h, lanes) = (self.at.heads, self.at.gpu.lanes);
        let first = b.mul(span, h.heads);
        b.for_(self.lane, self.tile.vectors() * h.dims, lanes, |b, i| {
            let vector = b.div(i, h.dims);
            let dim = b.binary(BinaryOp::Rem, i, h.dims);
            let rows = b.load(self.tile.vec(), self.rows, i);
            for (place, value) in (0u32..).zip(scalars_of(b, rows)) {
                let (_, head, inside) = self.row(b, vector, place);
                b.if_(inside, |b| {
                    let row = b.add(first, head);
                    let to = b.mul(row, h.dims);
                    let to = b.add(to, dim);
                    b.store(part.sums, to, value);
                });
            }
        });
        let is_first = b.cmp(CmpOp::Eq, self.lane, 0u32);
        b.if_(is_first, |b| {
            let most: Vec<ValueId> = self.most.iter().map(|&m| b.get(m)).collect();
            let scalars = |b: &mut KernelBuilder, vectors: &[ValueId]| vectors.iter().flat_map(|&v| scalars_of(b, v)).collect::<Vec<_>>();
            let (most, totals) = (scalars(b, &most), scalars(b, totals));
            for (hh, pair) in (0..self.tile.heads).zip(most.into_iter().zip(totals)) {
                let row = b.add(first, self.head);
                let row = b.add(row, hh);
                let pair = vector_of(b, &[pair.0, pair.1]);
                b.store(part.tops, row, pair);
            }
        });
    }

    /// Stores results by quads of features.
    pub(super) fn store(&self, b: &mut KernelBuilder, act: &ActParams) {
        let (h, lanes) = (self.at.heads, self.at.gpu.lanes);
        let columns = h.head_dim / QUAD;
        let jobs = self.tile.vectors() * columns;
        let exchange = Exchange::declare(b, &self.at.out, lanes, self.at.quads(&self.tile));
        let mut quads = Vec::new();
        for begin in (0..jobs).step_by(lanes as usize) {
            let job = b.add(self.lane, begin);
            let holds = b.cmp(CmpOp::Lt, job, jobs);
            let job = b.min(job, jobs - 1);
            let vector = b.div(job, columns);
            let column = b.binary(BinaryOp::Rem, job, columns);
            let from = b.mul(vector, h.dims);
            let dim = b.mul(column, QUAD);
            let from = b.add(from, dim);
            let features: Vec<Vec<ValueId>> = (0..QUAD)
                .map(|i| {
                    let at = b.add(from, i);
                    let rows = b.load(self.tile.vec(), self.rows, at);
                    scalars_of(b, rows)
                })
                .collect();
            let group_of_head = b.div(column, GROUP_LANES);
            for place in 0..u32::from(self.tile.width()) {
                let (row, head, inside) = self.row(b, vector, place);
                let group = b.mul(head, h.head_dim / GROUP);
                let group = b.add(group, group_of_head);
                let stored = b.binary(BinaryOp::And, holds, inside);
                let values: Vec<ValueId> = features.iter().map(|f| f[place as usize]).collect();
                let values = vector_of(b, &values);
                quads.push(Quad { row, group, values, squares: None, stored });
            }
        }
        store_quads(b, act, &self.at.out, &exchange, &quads);
    }

    /// Stores results feature by feature, and zeros up to the stride.
    pub(super) fn store_features(&self, b: &mut KernelBuilder, act: &ActParams, y: ValueId, last_y: u32) {
        let (h, out, lanes) = (self.at.heads, self.at.out, self.at.gpu.lanes);
        let ActParams::F32 { x, .. } = *act else { return };
        b.for_(self.lane, self.tile.vectors() * h.head_dim, lanes, |b, i| {
            let vector = b.div(i, h.head_dim);
            let dim = b.binary(BinaryOp::Rem, i, h.head_dim);
            let from = b.mul(vector, h.dims);
            let from = b.add(from, dim);
            let rows = b.load(self.tile.vec(), self.rows, from);
            for (place, value) in (0u32..).zip(scalars_of(b, rows)) {
                let (row, head, inside) = self.row(b, vector, place);
                b.if_(inside, |b| {
                    let to = b.mul(row, out.stride());
                    let first = b.mul(head, h.head_dim);
                    let to = b.add(to, first);
                    let to = b.add(to, dim);
                    b.store(x, to, value);
                });
            }
        });
        let tail = out.stride() - out.k;
        if tail > 0 {
            let is_last = b.cmp(CmpOp::Eq, y, last_y);
            b.if_(is_last, |b| {
                b.for_(self.lane, self.tile.tokens * tail, lanes, |b, i| {
                    let token = b.div(i, tail);
                    let row = b.add(self.t_begin, token);
                    let inside = b.cmp(CmpOp::Lt, row, self.t_end);
                    b.if_(inside, |b| {
                        let feature = b.binary(BinaryOp::Rem, i, tail);
                        let to = b.mul(row, out.stride());
                        let to = b.add(to, out.k);
                        let to = b.add(to, feature);
                        b.store(x, to, 0.0f32);
                    });
                });
            });
        }
    }
}

//! Attention of decode split over positions: where tiles of heads cannot be dealt evenly to the cores, a long cache is cut into spans,
//! each a tile of its own, and a second kernel combines them.
//!
//! A span leaves, per head, the greatest score, the sum of weights under it, and the sums of weighted values; the softmax of
//! the whole is a mean of the spans' results with weights e^(most − greatest most) · total (Dao et al., Flash-Decoding, 2023). The second
//! kernel is one tile, which the thread that did the last span does on the spot.

use slmc_ir::kernel::{Access, BufId, Builtin, KernelBuilder, Scalar, Type, UnaryOp, ValueId};
use slmc_ir::plan::Extent;

use super::finish::{Finish, Row};
use super::{Emitter, LOWEST, Tile};
use crate::lower::cpu::activation::params;
use crate::lower::heads::Heads;
use crate::lower::launch::{Launch, Limits};

/// Positions of a span: whole steps of the online softmax.
pub(super) const SPAN: u32 = 256;

/// What spans leave.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// f32 `[spans, heads, dims]`: sums of weighted values.
    sums: BufId,
    /// f32 `[spans, heads, 2]`: greatest score, sum of weights.
    tops: BufId,
}

impl Part {
    /// Declares the parameters.
    pub(super) fn params(b: &mut KernelBuilder, h: &Heads, spans: u32, access: Access) -> Self {
        let f32s = Type::scalar(Scalar::F32);
        let rows = spans * h.heads;
        Self { sums: b.param("part_sums", f32s, rows * h.dims, access, 64), tops: b.param("part_tops", f32s, rows * 2, access, 64) }
    }
}

impl Emitter<'_> {
    /// Spans that a step has, at most. Windows, which are short, are not cut.
    pub(super) fn spans(&self, limits: &Limits) -> u32 {
        let h = self.what.heads;
        let tiles = h.heads / self.tile_heads();
        if limits.tokens(self.what.phase) > 1 || h.window.is_some() || tiles.is_multiple_of(self.sched.cores) {
            return 1;
        }
        h.ctx.div_ceil(SPAN)
    }

    /// Spans of a step.
    pub(super) fn span_grid(&self, limits: &Limits) -> Extent {
        match self.spans(limits) {
            1 => Extent::fixed(1),
            max => Extent { a: 1, b: 1, c: 0, d: SPAN, max },
        }
    }

    /// Names and bytes of the buffers between both kernels, in the order of [`Part::params`].
    pub(super) fn parts(&self, limits: &Limits) -> Vec<(&'static str, u64)> {
        let h = self.what.heads;
        let rows = u64::from(self.spans(limits)) * u64::from(h.heads);
        vec![("part_sums", rows * u64::from(h.dims) * 4), ("part_tops", rows * 8)]
    }

    /// Emits the end of a span: what it leaves of the tile's heads, of which the first is `head`.
    pub(super) fn store_part(&self, b: &mut KernelBuilder, tile: &Tile, part: Part, span: ValueId, head: ValueId) {
        let h = self.what.heads;
        let lanes = u32::from(self.sched.lanes);
        let f32s = Type::scalar(Scalar::F32);
        let row = b.mul(span, h.heads);
        let row = b.add(row, head);
        let to = b.mul(row, h.dims);
        b.for_(0u32, tile.heads * h.dims, lanes, |b, i| {
            let v = b.load(Type::vector(Scalar::F32, self.sched.lanes), tile.sums, i);
            let to = b.add(to, i);
            b.store(part.sums, to, v);
        });
        let to = b.mul(row, 2u32);
        b.for_(0u32, tile.heads, 1, |b, r| {
            let at = b.mul(r, 2u32);
            let to = b.add(to, at);
            let most = b.load(f32s, tile.most, r);
            b.store(part.tops, to, most);
            let total = b.load(f32s, tile.total, r);
            let to = b.add(to, 1u32);
            b.store(part.tops, to, total);
        });
    }

    /// Makes the second kernel: parameters those of [`Part::params`], then the activations written.
    pub(super) fn combine(&self, name: &str, limits: &Limits) -> Launch {
        let h = self.what.heads;
        let lanes = u32::from(self.sched.lanes);
        let f32s = Type::scalar(Scalar::F32);
        let vec = Type::vector(Scalar::F32, self.sched.lanes);
        let mut kb = KernelBuilder::new(name, limits.bounds(self.what.phase), [1, 1, 1]);
        let b = &mut kb;
        let part = Part::params(b, &h, self.spans(limits), Access::Read);
        let finish = Finish { act: params(&self.what.out, b, Access::Write).0, what: self.what, lanes: self.sched.lanes };
        let sums = b.private("sums", f32s, h.dims);
        let t = b.builtin(Builtin::T);
        let p = b.builtin(Builtin::P);
        let end = b.add(p, t);
        let spans = b.add(end, SPAN - 1);
        let spans = b.div(spans, SPAN);
        let spans = b.min(spans, self.spans(limits));
        let token = b.constant(Type::INDEX, 0u32);
        b.for_(0u32, h.heads, 1, |b, head| {
            let row_of = |b: &mut KernelBuilder, span: ValueId| {
                let row = b.mul(span, h.heads);
                b.add(row, head)
            };
            let top_of = |b: &mut KernelBuilder, row: ValueId| {
                let at = b.mul(row, 2u32);
                b.load(f32s, part.tops, at)
            };
            let most = b.var(f32s, LOWEST);
            b.for_(0u32, spans, 1, |b, span| {
                let row = row_of(b, span);
                let top = top_of(b, row);
                let old = b.get(most);
                let new = b.max(old, top);
                b.set(most, new);
            });
            let most = b.get(most);
            let zero = b.constant(vec, 0.0f32);
            b.for_(0u32, h.dims, lanes, |b, d| b.store(sums, d, zero));
            let total = b.var(f32s, 0.0f32);
            b.for_(0u32, spans, 1, |b, span| {
                let row = row_of(b, span);
                let top = top_of(b, row);
                let shift = b.sub(top, most);
                let weight = b.unary(UnaryOp::Exp, shift);
                let at = b.mul(row, 2u32);
                let at = b.add(at, 1u32);
                let of_span = b.load(f32s, part.tops, at);
                let old = b.get(total);
                let new = b.fma(of_span, weight, old);
                b.set(total, new);
                let weight = b.repeat(weight, self.sched.lanes);
                let from = b.mul(row, h.dims);
                b.for_(0u32, h.dims, lanes, |b, d| {
                    let at = b.add(from, d);
                    let v = b.load(vec, part.sums, at);
                    let old = b.load(vec, sums, d);
                    let new = b.fma(v, weight, old);
                    b.store(sums, d, new);
                });
            });
            let total = b.get(total);
            let from = b.constant(Type::INDEX, 0u32);
            finish.row(b, &Row { sums, from, total }, token, head);
        });
        Launch { kernel: kb.finish(), grid: [Extent::fixed(1); 3] }
    }
}

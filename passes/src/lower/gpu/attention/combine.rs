//! Attention of decode split over positions: how many spans a long cache has, and the kernel that combines them.
//!
//! A span leaves, per head, the greatest score, the sum of weights under it, and the sums of weighted values; the softmax of
//! the whole is a mean of the spans' results with weights e^(most − greatest most) · total (Dao et al., Flash-Decoding, 2023).
//!
//! Spans are for latency: with as many workgroups as tiles of heads, a decode step over a long cache would leave most of a GPU
//! idle. The price is a second launch, so short contexts have one span. What bounds the combination is that launch's time:
//! it reads some 10 KB.

use slmc_ir::kernel::{Access, BinaryOp, BufId, Builtin, CmpOp, KernelBuilder, Scalar, Type, UnaryOp, ValueId};
use slmc_ir::plan::Extent;

use super::super::activation::{ALIGN, Exchange, F32, F32X4, GROUP_LANES, QUAD, Quad, params, store_quads};
use super::super::reduce::scalars_of;
use super::pass::LOWEST;
use super::{Attention, Tile};
use crate::lower::activation::GROUP;
use crate::lower::heads::Heads;
use crate::lower::launch::{Launch, Limits};

/// Contexts, or windows, up to here have one span.
const LONG: u32 = 1024;
/// Positions of a span, about.
const SPAN: u32 = 512;
/// (most, total) of a row.
const TOP: Type = Type::vector(Scalar::F32, 2);

/// What spans leave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// f32 `[spans, heads, dims]`: sums of weighted values. Read as f32x4.
    pub(super) sums: BufId,
    /// f32x2 `[spans, heads]`: greatest score, sum of weights.
    pub(super) tops: BufId,
}

impl Part {
    /// Declares the parameters.
    pub(super) fn params(b: &mut KernelBuilder, h: &Heads, spans: u32, access: Access) -> Self {
        let len = spans * h.heads * h.dims;
        let (elem, len) = if access == Access::Read { (F32X4, len / QUAD) } else { (F32, len) };
        Self { sums: b.param("part_sums", elem, len, access, ALIGN), tops: b.param("part_tops", TOP, spans * h.heads, access, ALIGN) }
    }
}

impl Attention<'_> {
    /// Spans of positions that are dealt to workgroups of their own, at most.
    pub fn spans(&self, limits: &Limits) -> u32 {
        if limits.tokens(self.phase) > 1 || self.visited(1) <= LONG || !self.by_quads() {
            return 1;
        }
        self.visited(1).div_ceil(self.span_positions(&self.tile(limits)))
    }

    /// Positions of a span: whole blocks.
    pub(super) fn span_positions(&self, tile: &Tile) -> u32 {
        SPAN.next_multiple_of(tile.segments * self.gpu.lanes)
    }

    /// Spans of a step.
    pub(super) fn span_grid(&self, limits: &Limits) -> Extent {
        match self.spans(limits) {
            1 => Extent::fixed(1),
            max => Extent { a: 1, b: 1, c: 0, d: self.span_positions(&self.tile(limits)), max },
        }
    }

    /// Names and bytes of the buffers between both kernels, in the order of parameters; empty if one kernel does it all.
    pub fn parts(&self, limits: &Limits) -> Vec<(&'static str, u64)> {
        match self.spans(limits) {
            1 => Vec::new(),
            spans => {
                let rows = u64::from(spans) * u64::from(self.heads.heads);
                vec![("part_sums", rows * u64::from(self.heads.dims) * 4), ("part_tops", rows * u64::from(TOP.bytes()))]
            }
        }
    }

    /// Makes the second kernel: parameters those of [`Self::parts`], then the activations written.
    pub fn combine(&self, name: &str, limits: &Limits) -> Launch {
        let (h, lanes) = (self.heads, self.gpu.lanes);
        let columns = h.head_dim / QUAD;
        let jobs = h.heads * columns;
        let grid = Extent::fixed(jobs.div_ceil(lanes));
        let mut kb = KernelBuilder::new(name, limits.bounds(self.phase), [grid.max, 1, 1]);
        let b = &mut kb;
        b.lanes(lanes);
        let part = Part::params(b, &h, self.spans(limits), Access::Read);
        let act = params(&self.out, b);
        let exchange = Exchange::declare(b, &self.out, lanes, 1);

        let t = b.builtin(Builtin::T);
        let p = b.builtin(Builtin::P);
        let end = b.add(p, t);
        let end = b.min(end, h.ctx);
        let span = self.span_positions(&self.tile(limits));
        let end = b.add(end, span - 1);
        let spans = b.div(end, span);
        let spans = b.min(spans, self.spans(limits));

        let x = b.builtin(Builtin::Grid(0));
        let lane = b.builtin(Builtin::Lane);
        let job = b.mul(x, lanes);
        let job = b.add(job, lane);
        let holds = b.cmp(CmpOp::Lt, job, jobs);
        let job = b.min(job, jobs - 1);
        let head = b.div(job, columns);
        let column = b.binary(BinaryOp::Rem, job, columns);
        let (most, total, sum) = (b.var(F32, LOWEST), b.var(F32, 0.0f32), b.var(F32X4, 0.0f32));
        b.for_(0u32, spans, 1, |b, span| {
            let row = b.mul(span, h.heads);
            let row = b.add(row, head);
            let top = b.load(TOP, part.tops, row);
            let from = b.mul(row, h.dims / QUAD);
            let from = b.add(from, column);
            let sums = b.load(F32X4, part.sums, from);
            let top = scalars_of(b, top);
            let before = b.get(most);
            let now = b.max(before, top[0]);
            b.set(most, now);
            let weight = |b: &mut KernelBuilder, most: ValueId| {
                let shift = b.sub(most, now);
                b.unary(UnaryOp::Exp, shift)
            };
            let (old, new) = (weight(b, before), weight(b, top[0]));
            let so_far = b.get(total);
            let so_far = b.mul(so_far, old);
            let more = b.fma(top[1], new, so_far);
            b.set(total, more);
            let (old, new) = (b.repeat(old, 4), b.repeat(new, 4));
            let so_far = b.get(sum);
            let so_far = b.mul(so_far, old);
            let more = b.fma(sums, new, so_far);
            b.set(sum, more);
        });
        let (total, sum) = (b.get(total), b.get(sum));
        let total = b.repeat(total, 4);
        let values = b.div(sum, total);
        let row = b.constant(Type::INDEX, 0u32);
        let group = b.mul(head, h.head_dim / GROUP);
        let within = b.div(column, GROUP_LANES);
        let group = b.add(group, within);
        store_quads(b, &act, &self.out, &exchange, &[Quad { row, group, values, squares: None, stored: holds }]);
        Launch { kernel: kb.finish(), grid: [grid, Extent::fixed(1), Extent::fixed(1)] }
    }
}

//! The attention kernel of GPUs: one pass over the cache with an online softmax (Milakov & Gimelshein, arXiv 1805.02867).
//!
//! A workgroup has a [`Tile`] of query rows, tokens × heads that share a KV head, and goes over the positions that any of its
//! rows may see in blocks. *Scores*: each lane has a position of each segment of a block; neighbouring lanes read
//! neighbouring words of the key cache, queries come from workgroup memory, the same word for all lanes. *Softmax*: the
//! block's maxima over all lanes by one reduction; sums stay in lanes until the end. *Values*: each lane has pairs of dims and
//! a slice of the block's positions; neighbouring lanes read neighbouring words of the value cache. The slices meet in
//! workgroup memory after the last block, where lanes take the results up as quads of an activation.
//!
//! Rows are held as vectors, as many lanes as [`Tile::width`]; what is missing to a multiple of it repeats the last row and
//! is not stored. Rows of tokens past T repeat the last token's. With a window, blocks begin with the first position that any
//! row of the tile sees, rounded down to a run of 32, so that what no row sees is not read.
//!
//! In decode over a long cache the positions are dealt to several workgroups as *spans*; what they find is combined by a
//! second kernel, [`Attention::combine`].
//!
//! What bounds it: in decode, cache bytes, and latency while tiles are few (so a tile has fewer heads than share a KV head
//! where workgroups are scarce); a block costs two barriers with subgroups, three or four without. In prefill,
//! workgroup memory: one word of it is read for each multiply-add of `width` rows. Registers: a lane keeps `4 · rows` f32 from
//! block to block (maxima, totals, two sums) and `segments · rows` scores within one.

mod combine;
mod pass;
mod store;
mod tile;

use slmc_ir::kernel::{Access, BinaryOp, Builtin, KernelBuilder, Type, ValueId};
use slmc_ir::plan::Extent;
use slmc_ir::target::Gpu;

use super::activation::{ALIGN, ActParams, F32, params, scalar_params};
use super::heads::BLOCK;
use super::reduce::{Reducer, Way};
use crate::lower::activation::ActShape;
use crate::lower::emit;
use crate::lower::heads::Heads;
use crate::lower::launch::{Launch, Limits, Phase};
use combine::Part;
use pass::{Body, LOWEST, state};
pub use tile::Tile;

/// What shapes the attention kernel.
#[derive(Debug)]
pub struct Attention<'a> {
    /// Head geometry.
    pub heads: Heads,
    /// Factor on `q · k`.
    pub scale: f32,
    /// A score s becomes `cap · tanh(s / cap)` before it is masked.
    pub softcap: Option<f32>,
    /// Where results go: no split norm; quantized only if a group of 32 features lies in one head.
    pub out: ActShape,
    /// Which list it is for.
    pub phase: Phase,
    /// The device.
    pub gpu: &'a Gpu,
    /// Rows of q in the arena.
    pub q_rows: u32,
}

/// Where a workgroup's results go.
enum Output {
    /// Activations, by quads of features.
    Quads(ActParams),
    /// Activations, feature by feature.
    Features(ActParams),
    /// What [`Attention::combine`] takes.
    Part(Part),
}

impl<'a> Attention<'a> {
    /// Attention on a device.
    pub fn new(what: &emit::Attention, gpu: &'a Gpu) -> Self {
        let emit::Attention { heads, scale, softcap, out, phase, q_rows } = *what;
        Self { heads, scale, softcap, out, phase, gpu, q_rows }
    }

    /// Positions that a tile of so many tokens visits, at most.
    fn visited(&self, tokens: u32) -> u32 {
        self.heads.window.map_or(self.heads.ctx, |window| (window + tokens - 1 + BLOCK - 1).min(self.heads.ctx))
    }

    /// The first position that a tile visits whose first token is at `position`: a multiple of 32.
    fn first_visited(&self, b: &mut KernelBuilder, position: ValueId) -> ValueId {
        let Some(window) = self.heads.window else { return b.constant(Type::INDEX, 0u32) };
        let limit = b.add(position, 1u32);
        let limit = b.max(limit, window);
        let first = b.sub(limit, window);
        let run = b.div(first, BLOCK);
        b.mul(run, BLOCK)
    }

    /// Makes the kernel: parameters q, key cache, value cache, then the activations written, or with several spans the
    /// buffers of [`Self::parts`].
    pub fn launch(&self, name: &str, limits: &Limits) -> Launch {
        let (h, lanes) = (self.heads, self.gpu.lanes);
        let tile = self.tile(limits);
        let token_grid = Extent::tokens(tile.tokens, limits.tokens(self.phase).div_ceil(tile.tokens));
        let head_grid = Extent::fixed(h.heads / tile.heads);
        let span_grid = self.span_grid(limits);

        let mut kb = KernelBuilder::new(name, limits.bounds(self.phase), [token_grid.max, head_grid.max, span_grid.max]);
        let b = &mut kb;
        b.lanes(lanes);
        let q = b.param("q", F32, self.q_rows * h.q_stride(), Access::Read, ALIGN);
        let k = b.param("k_cache", h.pair(), h.cache_pairs(), Access::Read, ALIGN);
        let v = b.param("v_cache", h.pair(), h.cache_pairs(), Access::Read, ALIGN);
        let to = match self.spans(limits) {
            1 if self.by_quads() => Output::Quads(params(&self.out, b)),
            1 => Output::Features(scalar_params(&self.out, b)),
            spans => Output::Part(Part::params(b, &h, spans, Access::Write)),
        };
        let vec = tile.vec();
        let rows = b.workgroup("rows", vec, tile.vectors() * h.dims);
        let weights = b.workgroup("weights", vec, tile.vectors() * tile.segments * lanes);
        let reducer = Reducer::declare(b, Way::of(self.gpu), vec, lanes, tile.vectors());

        let t_all = b.builtin(Builtin::T);
        let p = b.builtin(Builtin::P);
        let lane = b.builtin(Builtin::Lane);
        let x = b.builtin(Builtin::Grid(0));
        let y = b.builtin(Builtin::Grid(1));
        let t_begin = b.mul(x, tile.tokens);
        let t_end = b.add(t_begin, tile.tokens);
        let t_end = b.min(t_end, t_all);
        let head = b.mul(y, tile.heads);
        let kv_head = b.div(y, h.group() / tile.heads);
        let end = b.add(p, t_end);
        let end = b.min(end, h.ctx);
        let last = b.max(end, 1u32);
        let last = b.sub(last, 1u32);

        let width = h.pairs().min(lanes);
        let slices = lanes / width;
        let slice = b.div(lane, width);
        let pair = b.binary(BinaryOp::Rem, lane, width);
        let most = state(b, &tile, LOWEST);
        let total = state(b, &tile, 0.0);
        let seen = pass::limits(b, tile, p, t_begin);
        let sums = (0..h.pairs().div_ceil(width)).map(|_| [state(b, &tile, 0.0), state(b, &tile, 0.0)]).collect();
        let body = Body {
            at: self,
            tile,
            k,
            v,
            rows,
            weights,
            reducer,
            lane,
            t_begin,
            t_end,
            head,
            kv_head,
            last,
            width,
            slices,
            slice,
            pair,
            limits: seen,
            most,
            total,
            sums,
        };
        body.load_queries(b, q, t_all);
        let span = b.builtin(Builtin::Grid(2));
        let first = b.add(p, t_begin);
        let first = self.first_visited(b, first);
        let (begin, end) = match &to {
            Output::Part(_) => {
                let before = b.mul(span, self.span_positions(&tile));
                let begin = b.add(first, before);
                let span_end = b.add(begin, self.span_positions(&tile));
                (begin, b.min(end, span_end))
            }
            Output::Quads(_) | Output::Features(_) => (first, end),
        };
        b.for_(begin, end, tile.segments * lanes, |b, base| {
            let count = b.sub(end, base);
            let count = b.min(count, tile.segments * lanes);
            let scores = body.scores(b, base, count);
            let factors = body.softmax(b, count, &scores);
            body.values(b, base, count, &factors);
        });
        let totals = body.totals(b);
        match to {
            Output::Quads(act) => {
                body.gather(b, Some(&totals));
                body.store(b, &act);
            }
            Output::Features(act) => {
                body.gather(b, Some(&totals));
                body.store_features(b, &act, y, head_grid.max - 1);
            }
            Output::Part(part) => {
                body.gather(b, None);
                body.store_part(b, part, span, &totals);
            }
        }
        Launch { kernel: kb.finish(), grid: [token_grid, head_grid, span_grid] }
    }
}

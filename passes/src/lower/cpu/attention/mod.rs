//! The attention kernel: one pass over the cache with an online softmax (Milakov & Gimelshein, arXiv 1805.02867).
//!
//! A tile is a few query rows, tokens × heads that share a KV head. Each key vector (one dim of several positions) and each
//! value row is loaded once for all rows of the tile. Steps cover [`Schedule::attention_positions`] positions; those before the
//! first position and after the last that the tile may see are not visited. A step of which a row sees nothing leaves
//! weights that the first score it sees wipes out.
//!
//! In decode a long cache may be dealt to tiles as *spans* of positions; what they find is combined by a second kernel (`spans`).

mod finish;
mod scores;
mod softmax;
mod spans;
mod values;

use slmc_ir::kernel::{Access, BufId, Builtin, KernelBuilder, Scalar, Type, ValueId};
use slmc_ir::plan::Extent;

use super::activation::params;
use super::cache::Half;
use super::schedule::{Schedule, divisor_at_most};
use crate::lower::activation::GROUP;
use crate::lower::emit::{Attention, Spans};
use crate::lower::launch::{Launch, Limits, Phase};
use finish::Finish;
use spans::{Part, SPAN};

/// Lower than every score, and finite so that differences of scores are.
const LOWEST: f32 = -1e30;

struct Tile {
    q: BufId,
    k: Half,
    v: Half,
    queries: BufId,
    scores: BufId,
    /// Scores times the scales of the values, [dims / 32, rows, positions of a step]; the scores themselves where values have none.
    weights: BufId,
    sums: BufId,
    most: BufId,
    total: BufId,
    factor: BufId,
    /// Heads of a token in the tile.
    heads: u32,
    /// Tokens of the tile.
    tokens: u32,
}

/// Where a tile's results go.
enum Output<'a> {
    /// To the activations.
    Whole(Finish<'a>),
    /// To the kernel that combines spans.
    Part(Part),
}

/// Makes the kernel: parameters q, key cache, value cache, then the activations written, or with several spans the buffers of
/// [`spans`].
pub fn launch(name: &str, what: &Attention, sched: &Schedule, limits: &Limits) -> Launch {
    Emitter { what, sched }.launch(name, limits)
}

/// What follows the kernel where it leaves parts, the second one called `name`.
pub fn spans(name: &str, what: &Attention, sched: &Schedule, limits: &Limits) -> Option<Spans> {
    let emitter = Emitter { what, sched };
    (emitter.spans(limits) > 1).then(|| Spans { parts: emitter.parts(limits), combine: emitter.combine(name, limits) })
}

struct Emitter<'a> {
    what: &'a Attention,
    sched: &'a Schedule,
}

impl Emitter<'_> {
    fn launch(&self, name: &str, limits: &Limits) -> Launch {
        let (h, sched) = (self.what.heads, self.sched);
        let lanes = u32::from(sched.lanes);
        let group = h.group();
        let heads = self.tile_heads();
        let tokens = if limits.tokens(self.what.phase) == 1 || heads < group { 1 } else { (sched.attention_rows / heads).max(1) };
        let rows = heads * tokens;
        let token_grid = Extent::tokens(tokens, limits.tokens(self.what.phase).div_ceil(tokens));
        let head_grid = Extent::fixed(h.heads / heads);
        let span_grid = self.span_grid(limits);
        let f32s = Type::scalar(Scalar::F32);
        let vec = Type::vector(Scalar::F32, sched.lanes);

        let mut kb = KernelBuilder::new(name, limits.bounds(self.what.phase), [token_grid.max, head_grid.max, span_grid.max]);
        let b = &mut kb;
        let q = b.param("q", f32s, self.what.q_rows * h.q_stride(), Access::Read, 64);
        let k = Half::declare(b, "k_cache", h, sched, Access::Read);
        let v = Half::declare(b, "v_cache", h, sched, Access::Read);
        let output = match self.spans(limits) {
            1 => Output::Whole(Finish { act: params(&self.what.out, b, Access::Write).0, what: self.what, lanes: sched.lanes }),
            spans => Output::Part(Part::params(b, &h, spans, Access::Write)),
        };
        let step = rows * sched.attention_positions;
        let scores = b.private("scores", f32s, step);
        let tile = Tile {
            q,
            k,
            v,
            queries: b.private("queries", f32s, rows * h.dims),
            scores,
            weights: if v.has_scales() { b.private("weights", f32s, h.dims / GROUP * step) } else { scores },
            sums: b.private("sums", f32s, rows * h.dims),
            most: b.private("most", f32s, rows),
            total: b.private("total", f32s, rows),
            factor: b.private("factor", f32s, rows),
            heads,
            tokens,
        };
        let t_all = b.builtin(Builtin::T);
        let p = b.builtin(Builtin::P);
        let x = b.builtin(Builtin::Grid(0));
        let y = b.builtin(Builtin::Grid(1));
        let t_begin = b.mul(x, tokens);
        let t_end = b.add(t_begin, tokens);
        let t_end = b.min(t_end, t_all);
        let head = b.mul(y, heads);
        let kv_head = b.div(y, group / heads);

        self.load_queries(b, &tile, t_begin, t_all, head);
        b.for_(0u32, rows * h.dims, lanes, |b, i| {
            let zero = b.constant(vec, 0.0f32);
            b.store(tile.sums, i, zero);
        });
        b.for_(0u32, rows, 1, |b, r| {
            b.store(tile.most, r, LOWEST);
            b.store(tile.total, r, 0.0f32);
        });

        let end = b.add(p, t_end);
        let end = b.min(end, h.ctx);
        let steps = b.add(end, sched.attention_positions - 1);
        let steps = b.div(steps, sched.attention_positions);
        let first = match h.window {
            Some(window) => {
                let seen = b.add(p, t_begin);
                let before = b.constant(Type::INDEX, window - 1);
                let from = difference(b, seen, before, h.ctx);
                b.div(from, sched.attention_positions)
            }
            None => b.constant(Type::INDEX, 0u32),
        };
        let span = b.builtin(Builtin::Grid(2));
        let (first, steps) = match output {
            Output::Whole(_) => (first, steps),
            Output::Part(_) => {
                let first = b.mul(span, SPAN / sched.attention_positions);
                let last = b.add(first, SPAN / sched.attention_positions);
                (first, b.min(steps, last))
            }
        };
        b.for_(first, steps, 1, |b, step| {
            let base = b.mul(step, sched.attention_positions);
            let place = h.tile_place(b, step, sched.attention_positions);
            let count = difference(b, end, base, sched.attention_positions);
            let vectors = b.add(count, lanes - 1);
            let vectors = b.div(vectors, lanes);
            self.scores(b, &tile, kv_head, place, vectors);
            self.mask(b, &tile, p, t_begin, base, vectors);
            self.softmax(b, &tile, vectors);
            if v.has_scales() {
                self.weigh(b, &tile, kv_head, place, vectors);
            }
            self.values(b, &tile, kv_head, place, count);
        });
        match output {
            Output::Whole(finish) => finish.tile(b, &tile, t_begin, t_end, head),
            Output::Part(part) => self.store_part(b, &tile, part, span, head),
        }
        Launch { kernel: kb.finish(), grid: [token_grid, head_grid, span_grid] }
    }

    /// Heads of a token in a tile: of those that share a KV head.
    fn tile_heads(&self) -> u32 {
        divisor_at_most(self.what.heads.group(), self.sched.attention_rows)
    }

    /// Copies the tile's queries, scaled. Rows of tokens past T repeat the last token's.
    fn load_queries(&self, b: &mut KernelBuilder, tile: &Tile, t_begin: ValueId, t_all: ValueId, head: ValueId) {
        let h = self.what.heads;
        let lanes = u32::from(self.sched.lanes);
        let last = b.max(t_all, 1u32);
        let last = b.sub(last, 1u32);
        b.for_(0u32, tile.tokens, 1, |b, tt| {
            let t = b.add(t_begin, tt);
            let t = b.min(t, last);
            let from = b.mul(t, h.q_stride());
            let first = b.mul(head, h.dims);
            let from = b.add(from, first);
            let to = b.mul(tt, tile.heads * h.dims);
            b.for_(0u32, tile.heads * h.dims, lanes, |b, i| {
                let from = b.add(from, i);
                let to = b.add(to, i);
                let v = b.load(Type::vector(Scalar::F32, self.sched.lanes), tile.q, from);
                let v = b.mul(v, self.what.scale);
                b.store(tile.queries, to, v);
            });
        });
    }

    /// How far ahead the cache is prefetched, bytes.
    fn ahead(&self) -> u32 {
        if self.what.phase == Phase::Decode { self.sched.prefetch_bytes } else { 0 }
    }

    /// Overwrites the scores of positions that a row may not see.
    fn mask(&self, b: &mut KernelBuilder, tile: &Tile, p: ValueId, t_begin: ValueId, base: ValueId, vectors: ValueId) {
        let most = self.sched.attention_positions;
        let end = b.mul(vectors, u32::from(self.sched.lanes));
        let zero = b.constant(Type::INDEX, 0u32);
        for tt in 0..tile.tokens {
            let visible = b.add(p, t_begin);
            let visible = b.add(visible, tt + 1);
            let begin = difference(b, visible, base, most);
            let hidden = self.what.heads.window.map(|window| {
                let past = b.add(base, window);
                difference(b, visible, past, most)
            });
            for hh in 0..tile.heads {
                let row = (tt * tile.heads + hh) * most;
                let mut hide = |from: ValueId, to: ValueId| {
                    b.for_(from, to, 1, |b, i| {
                        let i = b.min(i, most - 1);
                        let to = b.add(i, row);
                        b.store(tile.scores, to, LOWEST);
                    });
                };
                hide(begin, end);
                if let Some(hidden) = hidden {
                    hide(zero, hidden);
                }
            }
        }
    }
}

/// `clamp(a − b, 0, most)` of two indices.
fn difference(b: &mut KernelBuilder, a: ValueId, from: ValueId, most: u32) -> ValueId {
    let a = b.convert(a, Scalar::I32);
    let from = b.convert(from, Scalar::I32);
    let d = b.sub(a, from);
    let d = b.max(d, 0i32);
    let d = b.min(d, most as i32);
    b.convert(d, Scalar::U32)
}

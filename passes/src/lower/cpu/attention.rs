//! The attention kernel: one pass over the cache with an online softmax (Milakov & Gimelshein, arXiv 1805.02867).
//!
//! A tile is a few query rows, tokens × heads that share a KV head. Each key vector (one dim of several positions) and each
//! value row is loaded once for all rows of the tile. Steps cover [`Schedule::attention_positions`] positions; those before the
//! first position and after the last that the tile may see are not visited. A step of which a row sees nothing leaves
//! weights that the first score it sees wipes out.

use slmc_ir::kernel::{Access, BinaryOp, BufId, Builtin, KernelBuilder, ReduceOp, Scalar, Type, UnaryOp, ValueId};
use slmc_ir::plan::Extent;

use super::activation::{ActParams, params, store_group};
use super::heads::cache_elem;
use super::schedule::{LINE, Schedule, divisor_at_most};
use crate::lower::activation::GROUP;
use crate::lower::emit::Attention;
use crate::lower::launch::{Launch, Limits, Phase};
use crate::lower::softcap::capped;

/// Lower than every score, and finite so that differences of scores are.
const LOWEST: f32 = -1e30;

struct Tile {
    q: BufId,
    k: BufId,
    v: BufId,
    act: ActParams,
    queries: BufId,
    scores: BufId,
    sums: BufId,
    most: BufId,
    total: BufId,
    factor: BufId,
    /// Heads of a token in the tile.
    heads: u32,
    /// Tokens of the tile.
    tokens: u32,
}

/// Makes the kernel: parameters q, key cache, value cache, then the activations written.
pub fn launch(name: &str, what: &Attention, sched: &Schedule, limits: &Limits) -> Launch {
    Emitter { what, sched }.launch(name, limits)
}

struct Emitter<'a> {
    what: &'a Attention,
    sched: &'a Schedule,
}

impl Emitter<'_> {
    fn launch(&self, name: &str, limits: &Limits) -> Launch {
        let (h, sched) = (self.what.heads, self.sched);
        let lanes = u32::from(sched.lanes);
        let group = h.heads / h.kv_heads;
        let heads = divisor_at_most(group, sched.attention_rows);
        let tokens = if limits.tokens(self.what.phase) == 1 || heads < group { 1 } else { (sched.attention_rows / heads).max(1) };
        let rows = heads * tokens;
        let token_grid = Extent::tokens(tokens, limits.tokens(self.what.phase).div_ceil(tokens));
        let head_grid = Extent::fixed(h.heads / heads);
        let f32s = Type::scalar(Scalar::F32);
        let vec = Type::vector(Scalar::F32, sched.lanes);

        let mut kb = KernelBuilder::new(name, limits.bounds(self.what.phase), [token_grid.max, head_grid.max, 1]);
        let b = &mut kb;
        let q = b.param("q", f32s, self.what.q_rows * h.q_stride(), Access::Read, 64);
        let k = b.param("k_cache", cache_elem(&h), h.cache_len(), Access::Read, 64);
        let v = b.param("v_cache", cache_elem(&h), h.cache_len(), Access::Read, 64);
        let (act, _) = params(&self.what.out, b, Access::Write);
        let tile = Tile {
            q,
            k,
            v,
            act,
            queries: b.private("queries", f32s, rows * h.dims),
            scores: b.private("scores", f32s, rows * sched.attention_positions),
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
        b.for_(first, steps, 1, |b, step| {
            let base = b.mul(step, sched.attention_positions);
            let place = h.tile_place(b, step, sched.attention_positions);
            let count = difference(b, end, base, sched.attention_positions);
            let vectors = b.add(count, lanes - 1);
            let vectors = b.div(vectors, lanes);
            self.scores(b, &tile, kv_head, place, vectors);
            self.mask(b, &tile, p, t_begin, base, vectors);
            self.softmax(b, &tile, vectors);
            self.values(b, &tile, kv_head, place, count);
        });
        self.finish(b, &tile, t_begin, t_end, head);
        Launch { kernel: kb.finish(), grid: [token_grid, head_grid, Extent::fixed(1)] }
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

    /// How far ahead the cache is prefetched, in its elements.
    fn ahead(&self) -> u32 {
        if self.what.phase == Phase::Decode { self.sched.prefetch_bytes / cache_elem(&self.what.heads).bytes() } else { 0 }
    }

    /// Prefetches what follows `count` elements of a cache half from `at` on at the distance of the schedule.
    fn prefetch(&self, b: &mut KernelBuilder, buf: BufId, at: ValueId, count: u32) {
        let line = LINE / cache_elem(&self.what.heads).bytes();
        if self.ahead() > 0 {
            for i in 0..count.div_ceil(line) {
                let ahead = b.add(at, self.ahead() + i * line);
                b.prefetch(buf, ahead);
            }
        }
    }

    fn load_cache(&self, b: &mut KernelBuilder, buf: BufId, at: ValueId) -> ValueId {
        let v = b.load(Type::vector(cache_elem(&self.what.heads).scalar, self.sched.lanes), buf, at);
        if cache_elem(&self.what.heads).scalar == Scalar::F32 { v } else { b.convert(v, Scalar::F32) }
    }

    fn scores(&self, b: &mut KernelBuilder, tile: &Tile, kv_head: ValueId, place: ValueId, vectors: ValueId) {
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
            // Few rows leave fma latency open; their dims are dealt to two sums.
            let parts = if rows < 8 { 2 } else { 1 };
            let sums: Vec<_> = (0..rows * parts).map(|_| b.var(vec, 0.0f32)).collect();
            // With a prefetch, at least the dims of a line.
            let line = LINE / (lanes * cache_elem(&h).bytes()).min(LINE);
            let columns = if self.ahead() == 0 { parts } else { divisor_at_most(h.dims, line.max(parts)) };
            b.for_unrolled(0u32, h.dims, columns, 2, |b, first_dim| {
                let from = b.mul(first_dim, lanes);
                let from = b.add(at, from);
                self.prefetch(b, tile.k, from, columns * lanes);
                for column in 0..columns {
                    let part = column % parts;
                    let d = b.add(first_dim, column);
                    let from = b.mul(d, lanes);
                    let from = b.add(at, from);
                    let key = self.load_cache(b, tile.k, from);
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
            let column = b.mul(j, lanes);
            for r in 0..rows {
                let mut sum = b.get(sums[(r * parts) as usize]);
                for part in 1..parts {
                    let more = b.get(sums[(r * parts + part) as usize]);
                    sum = b.add(sum, more);
                }
                let sum = capped(b, sum, self.what.softcap);
                let to = b.add(column, r * self.sched.attention_positions);
                b.store(tile.scores, to, sum);
            }
        });
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

    fn softmax(&self, b: &mut KernelBuilder, tile: &Tile, vectors: ValueId) {
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

    fn values(&self, b: &mut KernelBuilder, tile: &Tile, kv_head: ValueId, place: ValueId, count: ValueId) {
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
                            self.load_cache(b, tile.v, at)
                        })
                        .collect();
                    let from = b.add(at, v0 * lanes);
                    self.prefetch(b, tile.v, from, block_vectors * lanes);
                    let wi = b.add(weights, i);
                    for r in 0..block_rows {
                        let at = b.add(wi, r * self.sched.attention_positions);
                        let w = b.load(f32s, tile.scores, at);
                        let w = b.repeat(w, self.sched.lanes);
                        for v in 0..block_vectors {
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

    fn finish(&self, b: &mut KernelBuilder, tile: &Tile, t_begin: ValueId, t_end: ValueId, head: ValueId) {
        let h = self.what.heads;
        let lanes = u32::from(self.sched.lanes);
        let f32s = Type::scalar(Scalar::F32);
        let one = b.constant(f32s, 1.0f32);
        b.for_(t_begin, t_end, 1, |b, token| {
            let tt = b.binary(BinaryOp::Rem, token, tile.tokens);
            let r0 = b.mul(tt, tile.heads);
            b.for_(0u32, tile.heads, 1, |b, hh| {
                let r = b.add(r0, hh);
                let total = b.load(f32s, tile.total, r);
                let inverse = b.div(one, total);
                let from = b.mul(r, h.dims);
                let head = b.add(head, hh);
                if h.head_dim.is_multiple_of(GROUP) {
                    let wide = b.repeat(inverse, self.sched.lanes);
                    let first = b.mul(head, h.head_dim / GROUP);
                    b.for_(0u32, h.head_dim / GROUP, 1, |b, g| {
                        let at = b.mul(g, GROUP);
                        let at = b.add(from, at);
                        let values: Vec<ValueId> = (0..GROUP / lanes)
                            .map(|i| {
                                let at = b.add(at, i * lanes);
                                let v = b.load(Type::vector(Scalar::F32, self.sched.lanes), tile.sums, at);
                                b.mul(v, wide)
                            })
                            .collect();
                        let group = b.add(first, g);
                        store_group(b, &tile.act, &self.what.out, token, group, &values);
                    });
                } else {
                    let ActParams::F32 { x } = tile.act else { unreachable!("invariant: a group of 32 lies in one head") };
                    let to = b.mul(token, self.what.out.stride());
                    let first = b.mul(head, h.head_dim);
                    let to = b.add(to, first);
                    b.for_(0u32, h.head_dim, 1, |b, d| {
                        let at = b.add(from, d);
                        let v = b.load(f32s, tile.sums, at);
                        let v = b.mul(v, inverse);
                        let to = b.add(to, d);
                        b.store(x, to, v);
                    });
                }
            });
        });
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

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
//! is not stored. Rows of tokens past T repeat the last token's. Windows and soft caps are not known here.
//!
//! What bounds it: in decode, cache bytes, and latency while tiles are few (so a tile has fewer heads than share a KV head
//! where workgroups are scarce); a block costs two barriers with subgroups, three or four without. In prefill,
//! workgroup memory: one word of it is read for each multiply-add of `width` rows. Registers: `5 · rows` f32 a lane live
//! across a block.

use slmc_ir::kernel::{Access, BinaryOp, BufId, Builtin, CmpOp, KernelBuilder, ReduceOp, Scalar, Type, UnaryOp, ValueId, VarId};
use slmc_ir::plan::Extent;
use slmc_ir::target::Gpu;

use super::activation::{ALIGN, ActParams, Exchange, F32, GROUP_LANES, QUAD, Quad, params, scalar_params, store_quads};
use super::reduce::{Reducer, Way, scalars_of, vector_of};
use crate::lower::activation::{ActShape, GROUP};
use crate::lower::heads::Heads;
use crate::lower::launch::{Launch, Limits, Phase};

/// Lower than every score, and finite so that differences of scores are.
const LOWEST: f32 = -1e30;
/// Positions whose values a lane loads before it uses them, and pairs of a key.
const AHEAD: u32 = 8;
/// Workgroups of a decode step that keep a GPU's cores busy, about.
const DECODE_WORKGROUPS: u32 = 16;
/// Rows of a tile that fit registers.
const ROWS: u32 = 8;
/// Rows of a tile where fewer do not fill vectors.
const MOST_ROWS: u32 = 12;
/// Segments of a block, at most.
const SEGMENTS: u32 = 4;

/// What shapes the attention kernel.
#[derive(Debug)]
pub struct Attention<'a> {
    /// Head geometry.
    pub heads: Heads,
    /// Factor on `q · k`.
    pub scale: f32,
    /// Where results go: no split norm; quantized only if a group of 32 features lies in one head.
    pub out: ActShape,
    /// Which list it is for.
    pub phase: Phase,
    /// The device.
    pub gpu: &'a Gpu,
    /// Rows of q in the arena.
    pub q_rows: u32,
}

/// What a workgroup covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Heads of a token; they divide those that share a KV head.
    pub heads: u32,
    /// Tokens; 1 if `heads` are not all that share a KV head.
    pub tokens: u32,
    /// Runs of `gpu.lanes` positions in a block.
    pub segments: u32,
}

impl Tile {
    /// Rows of a vector.
    pub fn width(&self) -> u16 {
        match self.heads * self.tokens {
            0 | 1 => 1,
            2 => 2,
            _ => 4,
        }
    }
    /// Vectors that hold a number of each row.
    fn vectors(&self) -> u32 {
        (self.heads * self.tokens).div_ceil(u32::from(self.width()))
    }
    /// Token and head within the tile of row `row`; of a row that is missing, the last one's.
    fn place(&self, row: u32) -> (u32, u32) {
        let row = row.min(self.heads * self.tokens - 1);
        (row / self.heads, row % self.heads)
    }
    fn vec(&self) -> Type {
        Type::vector(Scalar::F32, self.width())
    }
}

impl Attention<'_> {
    /// The tile: as many rows as share loads without running out of registers, workgroups or workgroup memory.
    pub fn tile(&self, limits: &Limits) -> Tile {
        let h = self.heads;
        let group = h.group();
        let tokens = limits.tokens(self.phase);
        let divisors = || (1..=group).rev().filter(|d| group.is_multiple_of(*d));
        let wanted = if tokens == 1 {
            let heads = divisors().find(|&d| d <= ROWS && h.kv_heads * (group / d) >= DECODE_WORKGROUPS).unwrap_or(1);
            Tile { heads, tokens: 1, segments: 1 }
        } else {
            let heads = divisors().find(|&d| d <= ROWS).unwrap_or(1);
            let most = if heads == group { (MOST_ROWS / heads).clamp(1, tokens) } else { 1 };
            let filled = |t: u32| (heads * t) * 100 / (heads * t).next_multiple_of(4);
            let tokens = (1..=most).max_by_key(|&t| (filled(t), heads * t <= ROWS, t)).unwrap_or(1);
            Tile { heads, tokens, segments: 1 }
        };
        let mut tile = Tile { segments: (ROWS / (wanted.heads * wanted.tokens)).clamp(1, SEGMENTS).min(h.ctx.div_ceil(self.gpu.lanes)), ..wanted };
        while self.shared_bytes(&tile) > self.gpu.shared_bytes {
            if tile.segments > 1 {
                tile.segments -= 1;
            } else if tile.tokens > 1 {
                tile.tokens -= 1;
            } else if let Some(fewer) = divisors().find(|&d| d < tile.heads) {
                tile.heads = fewer;
            } else {
                break;
            }
        }
        tile
    }

    /// Bytes of workgroup memory for a tile.
    fn shared_bytes(&self, tile: &Tile) -> u32 {
        let lanes = self.gpu.lanes;
        let vector = tile.vectors() * tile.vec().bytes();
        let exchange = if self.by_quads() { Exchange::bytes(&self.out, lanes, self.quads(tile)) } else { 0 };
        vector * (self.heads.dims + tile.segments * lanes) + Reducer::bytes(Way::of(self.gpu), tile.vec(), lanes, tile.vectors()) + exchange
    }

    /// Whether results are stored by quads: a group of features lies in one head.
    fn by_quads(&self) -> bool {
        self.heads.head_dim.is_multiple_of(GROUP)
    }

    /// Quads that a lane stores.
    fn quads(&self, tile: &Tile) -> u32 {
        u32::from(tile.width()) * (tile.vectors() * self.heads.head_dim / QUAD).div_ceil(self.gpu.lanes)
    }

    /// Makes the kernel: parameters q, key cache, value cache, then the activations written.
    pub fn launch(&self, name: &str, limits: &Limits) -> Launch {
        let (h, lanes) = (self.heads, self.gpu.lanes);
        let tile = self.tile(limits);
        let token_grid = Extent::tokens(tile.tokens, limits.tokens(self.phase).div_ceil(tile.tokens));
        let head_grid = Extent::fixed(h.heads / tile.heads);

        let mut kb = KernelBuilder::new(name, limits.bounds(self.phase), [token_grid.max, head_grid.max, 1]);
        let b = &mut kb;
        b.lanes(lanes);
        let q = b.param("q", F32, self.q_rows * h.q_stride(), Access::Read, ALIGN);
        let k = b.param("k_cache", h.pair(), h.cache_pairs(), Access::Read, ALIGN);
        let v = b.param("v_cache", h.pair(), h.cache_pairs(), Access::Read, ALIGN);
        let act = if self.by_quads() { params(&self.out, b) } else { scalar_params(&self.out, b) };
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
        let sums = (0..h.pairs().div_ceil(width)).map(|_| [state(b, &tile, 0.0), state(b, &tile, 0.0)]).collect();
        let mut body = Body {
            at: self,
            tile,
            k,
            v,
            act,
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
            limits: Vec::new(),
            most,
            total,
            sums,
        };
        body.limits = body.limits(b, p);
        body.load_queries(b, q, t_all);
        b.for_(0u32, end, tile.segments * lanes, |b, base| {
            let count = b.sub(end, base);
            let count = b.min(count, tile.segments * lanes);
            let scores = body.scores(b, base, count);
            let factors = body.softmax(b, count, &scores);
            body.values(b, base, count, &factors);
        });
        body.gather(b);
        if body.at.by_quads() {
            body.store(b);
        } else {
            body.store_features(b, y, head_grid.max - 1);
        }
        Launch { kernel: kb.finish(), grid: [token_grid, head_grid, Extent::fixed(1)] }
    }
}

/// A number of each row, kept by every lane.
fn state(b: &mut KernelBuilder, tile: &Tile, first: f32) -> Vec<VarId> {
    (0..tile.vectors()).map(|_| b.var(tile.vec(), first)).collect()
}

/// The greatest divisor of `n` that is at most `limit`.
fn divisor_at_most(n: u32, limit: u32) -> u32 {
    (1..=limit.min(n)).rev().find(|d| n.is_multiple_of(*d)).unwrap_or(1)
}

struct Body<'a> {
    at: &'a Attention<'a>,
    tile: Tile,
    k: BufId,
    v: BufId,
    act: ActParams,
    /// `[vectors, dims]`: queries, scaled; in the end results.
    rows: BufId,
    /// `[vectors, positions of a block]`: e^(score − most).
    weights: BufId,
    reducer: Reducer,
    lane: ValueId,
    t_begin: ValueId,
    t_end: ValueId,
    /// First head of the tile.
    head: ValueId,
    kv_head: ValueId,
    /// The last position that any row sees.
    last: ValueId,
    /// Lanes of a slice.
    width: u32,
    /// Slices of a block's positions; lanes beyond idle while values are summed.
    slices: u32,
    slice: ValueId,
    /// First of the pairs of dims that a lane sums; the others follow at steps of `width`.
    pair: ValueId,
    /// Of each vector of rows, positions that the rows see: a number if equal for all, else a vector.
    limits: Vec<ValueId>,
    most: Vec<VarId>,
    /// Of the lane's own positions.
    total: Vec<VarId>,
    /// By column of pairs: both dims' sums over the lane's slice.
    sums: Vec<[Vec<VarId>; 2]>,
}

impl Body<'_> {
    fn block(&self) -> u32 {
        self.tile.segments * self.at.gpu.lanes
    }

    fn places(&self, vector: u32) -> impl Iterator<Item = (u32, u32)> {
        let (tile, width) = (self.tile, u32::from(self.tile.width()));
        (vector * width..(vector + 1) * width).map(move |row| tile.place(row))
    }

    fn limits(&self, b: &mut KernelBuilder, p: ValueId) -> Vec<ValueId> {
        let before = b.add(p, self.t_begin);
        (0..self.tile.vectors())
            .map(|g| {
                let tokens: Vec<u32> = self.places(g).map(|(t, _)| t).collect();
                if tokens.iter().all(|&t| t == tokens[0]) {
                    return b.add(before, tokens[0] + 1);
                }
                let limits: Vec<ValueId> = tokens.iter().map(|t| b.add(before, t + 1)).collect();
                vector_of(b, &limits)
            })
            .collect()
    }

    /// Copies the tile's queries, scaled.
    fn load_queries(&self, b: &mut KernelBuilder, q: BufId, t_all: ValueId) {
        let h = self.at.heads;
        let last = b.max(t_all, 1u32);
        let last = b.sub(last, 1u32);
        for g in 0..self.tile.vectors() {
            b.for_(self.lane, h.dims, self.at.gpu.lanes, |b, dim| {
                let parts: Vec<ValueId> = self
                    .places(g)
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
    fn scores(&self, b: &mut KernelBuilder, base: ValueId, count: ValueId) -> Vec<Vec<VarId>> {
        (0..self.tile.segments)
            .map(|m| {
                let scores = state(b, &self.tile, LOWEST);
                self.if_segment(b, m, count, |b| {
                    let position = b.add(base, self.lane);
                    let position = b.add(position, m * self.at.gpu.lanes);
                    for (g, s) in self.products(b, position).into_iter().enumerate() {
                        let limit = self.limits[g];
                        let position = b.repeat(position, b.ty(limit).lanes);
                        let seen = b.cmp(CmpOp::Lt, position, limit);
                        let s = b.select(seen, s, LOWEST);
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
    fn softmax(&self, b: &mut KernelBuilder, count: ValueId, scores: &[Vec<VarId>]) -> Vec<ValueId> {
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
    fn values(&self, b: &mut KernelBuilder, base: ValueId, count: ValueId, factors: &[ValueId]) {
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
    fn column(&self, b: &mut KernelBuilder, column: u32) -> ValueId {
        if column == 0 { self.pair } else { b.add(self.pair, column * self.width) }
    }

    /// Adds up the slices in `rows`, divided by the sums of weights.
    fn gather(&self, b: &mut KernelBuilder) {
        let h = self.at.heads;
        let totals: Vec<ValueId> = self.total.iter().map(|&t| b.get(t)).collect();
        let one = b.constant(self.tile.vec(), 1.0f32);
        let inverse: Vec<ValueId> = self.reducer.all_settled(b, ReduceOp::Add, &totals).into_iter().map(|total| b.div(one, total)).collect();
        let put = |b: &mut KernelBuilder, add: bool| {
            for (c, halves) in (0u32..).zip(&self.sums) {
                let pair = self.column(b, c);
                let column = |b: &mut KernelBuilder| {
                    let dim = b.mul(pair, 2u32);
                    for (half, sums) in (0u32..).zip(halves) {
                        for (g, &sum) in (0u32..).zip(sums) {
                            let at = b.add(dim, g * h.dims + half);
                            let sum = b.get(sum);
                            let mut sum = b.mul(sum, inverse[g as usize]);
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

    /// Stores results by quads of features.
    fn store(&self, b: &mut KernelBuilder) {
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
        store_quads(b, &self.act, &self.at.out, &exchange, &quads);
    }

    /// Stores results feature by feature, and zeros up to the stride.
    fn store_features(&self, b: &mut KernelBuilder, y: ValueId, last_y: u32) {
        let (h, out, lanes) = (self.at.heads, self.at.out, self.at.gpu.lanes);
        let ActParams::F32 { x, .. } = self.act else { return };
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

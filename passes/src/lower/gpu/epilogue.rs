//! What follows a product, by quads: the next norm, rotation and cache writes, the gate, rows as they are, logits.
//!
//! A lane holds quads of features, of one token each; its eight neighbours hold the rest of the block. All lanes run an
//! epilogue in uniform flow; what is not to be stored is marked so, and has a token and a unit in range all the same.

use slmc_ir::kernel::{Access, BinaryOp, BufId, Builtin, CmpOp, KernelBuilder, ReduceOp, Scalar, Type, ValueId};

use super::activation::{ALIGN, ActParams, Exchange, F32, F32X4, GROUP_LANES, QUAD, Quad, params, store_quads};
use super::heads::BLOCK;
use crate::lower::activation::{ActShape, GROUP};
use crate::lower::emit::Epilogue;
use crate::lower::gate::Gate;
use crate::lower::heads::{Heads, Parts};
use crate::lower::softcap::capped;

const F32X2: Type = Type::vector(Scalar::F32, 2);

/// What an epilogue gets of a lane: a quad of each block of a unit, of one token.
#[derive(Debug)]
pub struct Finished {
    /// The unit, within the whole matrix.
    pub unit: ValueId,
    /// The token's index in the step.
    pub token: ValueId,
    /// Per block of the unit, f32x4; norm factor and bias applied.
    pub quads: Vec<ValueId>,
    /// Whether it is stored, `bool`; equal in the eight lanes.
    pub stored: ValueId,
}

/// An epilogue with its parameters and workgroup memory declared.
#[derive(Debug)]
pub enum Output {
    /// [`Epilogue::Qkv`].
    Qkv(QkvOutput),
    /// [`Epilogue::Residual`].
    Residual(ResidualOutput),
    /// [`Epilogue::Gated`].
    Gated(GatedOutput),
    /// [`Epilogue::Logits`].
    Logits {
        /// f32 [rows, vocab].
        logits: BufId,
        /// Columns.
        vocab: u32,
        /// Soft cap.
        softcap: Option<f32>,
    },
    /// [`Epilogue::Rows`].
    Rows {
        /// f32x4 [rows, quads].
        rows: BufId,
        /// Quads of a row.
        quads: u32,
    },
}

impl Output {
    /// Declares an epilogue that finishes `tokens` tokens a lane.
    pub fn declare(b: &mut KernelBuilder, epilogue: &Epilogue, lanes: u32, tokens: u32) -> Self {
        match *epilogue {
            Epilogue::Qkv { heads, parts, rotated, rows } => Self::Qkv(QkvOutput::declare(b, heads, parts, rotated, rows)),
            Epilogue::Residual { features, out, rows } => {
                let quads = features.next_multiple_of(GROUP) / QUAD;
                let residual = b.param("residual", F32X4, rows * quads, Access::ReadWrite, ALIGN);
                Self::Residual(ResidualOutput { residual, quads, normed: out.map(|out| NormedOutput::declare(b, out, lanes, tokens)) })
            }
            Epilogue::Rows { features, rows } => {
                let quads = features.next_multiple_of(GROUP) / QUAD;
                Self::Rows { rows: b.param("rows", F32X4, rows * quads, Access::Write, ALIGN), quads }
            }
            Epilogue::Gated { gate, out } => {
                let act = params(&out, b);
                let exchange = Exchange::declare(b, &out, lanes, tokens);
                Self::Gated(GatedOutput { gate, act, shape: out, exchange })
            }
            Epilogue::Logits { vocab, rows, softcap } => {
                Self::Logits { logits: b.param("logits", F32, rows * vocab, Access::Write, ALIGN), vocab, softcap }
            }
        }
    }

    /// Bytes of workgroup memory that [`Self::declare`] takes.
    pub fn shared_bytes(epilogue: &Epilogue, lanes: u32, tokens: u32) -> u32 {
        match epilogue {
            Epilogue::Residual { out: Some(out), .. } | Epilogue::Gated { out, .. } => Exchange::bytes(out, lanes, tokens),
            Epilogue::Residual { out: None, .. } | Epilogue::Rows { .. } | Epilogue::Qkv { .. } | Epilogue::Logits { .. } => 0,
        }
    }

    /// Emits the epilogue of all that the lane finished.
    pub fn store(&self, b: &mut KernelBuilder, finished: &[Finished]) {
        let lane = b.builtin(Builtin::Lane);
        let place = b.binary(BinaryOp::Rem, lane, GROUP_LANES);
        match self {
            Self::Qkv(out) => finished.iter().for_each(|f| b.if_(f.stored, |b| out.store(b, place, f))),
            Self::Residual(out) => out.store(b, place, finished),
            Self::Gated(out) => out.store(b, finished),
            Self::Logits { logits, vocab, softcap } => {
                for f in finished {
                    b.if_(f.stored, |b| {
                        let values = capped(b, f.quads[0], *softcap);
                        store_logits(b, *logits, *vocab, place, f, values);
                    });
                }
            }
            Self::Rows { rows, quads } => {
                for f in finished {
                    let within = b.mul(f.unit, GROUP_LANES);
                    let within = b.add(within, place);
                    let at = b.mul(f.token, *quads);
                    let at = b.add(at, within);
                    b.if_(f.stored, |b| b.store(*rows, at, f.quads[0]));
                }
            }
        }
    }
}

/// Adds to the residual rows in place and, where a split norm follows, writes its activations.
#[derive(Debug)]
pub struct ResidualOutput {
    residual: BufId,
    /// Quads of a row.
    quads: u32,
    normed: Option<NormedOutput>,
}

impl ResidualOutput {
    fn store(&self, b: &mut KernelBuilder, place: ValueId, finished: &[Finished]) {
        let streams: Vec<(ValueId, Stream)> = finished
            .iter()
            .map(|f| {
                let within = b.mul(f.unit, GROUP_LANES);
                let within = b.add(within, place);
                let at = b.mul(f.token, self.quads);
                let at = b.add(at, within);
                // Lanes that store nothing may share their place with one that does, so they do not read either.
                let sum = b.var(F32X4, 0.0f32);
                b.if_(f.stored, |b| {
                    let old = b.load(F32X4, self.residual, at);
                    let new = b.add(old, f.quads[0]);
                    b.store(self.residual, at, new);
                    b.set(sum, new);
                });
                let values = b.get(sum);
                (within, Stream { row: f.token, group: f.unit, values, stored: f.stored })
            })
            .collect();
        if let Some(normed) = &self.normed {
            normed.store(b, &streams);
        }
    }
}

/// The activations of a split norm, made of quads of the residual stream.
#[derive(Debug)]
pub struct NormedOutput {
    weight: BufId,
    act: ActParams,
    shape: ActShape,
    exchange: Exchange,
}

impl NormedOutput {
    /// Declares the parameters, norm weight and activations written, and workgroup memory for `quads` quads a lane.
    pub fn declare(b: &mut KernelBuilder, shape: ActShape, lanes: u32, quads: u32) -> Self {
        let weight = b.param("norm", F32X4, shape.stride() / QUAD, Access::Read, ALIGN);
        let act = params(&shape, b);
        Self { weight, act, shape, exchange: Exchange::declare(b, &shape, lanes, quads) }
    }

    /// Writes all that the lane has, each with its place among the quads of a row.
    pub fn store(&self, b: &mut KernelBuilder, streams: &[(ValueId, Stream)]) {
        let quads: Vec<Quad> = streams.iter().map(|&(within, stream)| normed(b, &self.shape, self.weight, within, stream)).collect();
        store_quads(b, &self.act, &self.shape, &self.exchange, &quads);
    }
}

/// A quad of the residual stream.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    /// The row, within the arena's.
    pub row: ValueId,
    /// The group, within the row's.
    pub group: ValueId,
    /// f32x4.
    pub values: ValueId,
    /// Whether it is stored.
    pub stored: ValueId,
}

/// The next norm's quad of a quad of the residual stream: multiplied by the norm's weight (f32x4 [stride/4], at `within`), with
/// its sum of squares.
fn normed(b: &mut KernelBuilder, shape: &ActShape, weight: BufId, within: ValueId, stream: Stream) -> Quad {
    let Stream { row, group, values, stored } = stream;
    let squares = shape.norm.map(|_| {
        let squares = b.mul(values, values);
        b.reduce(ReduceOp::Add, squares)
    });
    let weight = b.load(F32X4, weight, within);
    let values = b.mul(values, weight);
    Quad { row, group, values, squares, stored }
}

/// Combines 32 gate rows and 32 up rows to 32 features.
#[derive(Debug)]
pub struct GatedOutput {
    gate: Gate,
    act: ActParams,
    shape: ActShape,
    exchange: Exchange,
}

impl GatedOutput {
    fn store(&self, b: &mut KernelBuilder, finished: &[Finished]) {
        let quads: Vec<Quad> = finished
            .iter()
            .map(|f| {
                let gate = self.gate.apply(b, f.quads[0]);
                let values = b.mul(gate, f.quads[1]);
                Quad { row: f.token, group: f.unit, values, squares: None, stored: f.stored }
            })
            .collect();
        store_quads(b, &self.act, &self.shape, &self.exchange, &quads);
    }
}

/// Rotates q and k, writes q rows to the arena and k and v to the cache. The packed rows are those of the q heads, then the k
/// heads, then the v heads.
#[derive(Debug)]
pub struct QkvOutput {
    heads: Heads,
    parts: Parts,
    /// f32x2 [ctx, 2, dims/2].
    rope: Option<BufId>,
    /// f32x2 [rows, heads, dims/2].
    q: Option<BufId>,
    k_cache: Option<BufId>,
    v_cache: Option<BufId>,
}

impl QkvOutput {
    fn declare(b: &mut KernelBuilder, heads: Heads, parts: Parts, rotated: bool, rows: u32) -> Self {
        let rotated = rotated && (parts.q || parts.k);
        let cache = |b: &mut KernelBuilder, name| b.param(name, heads.pair(), heads.cache_pairs(), Access::Write, ALIGN);
        Self {
            heads,
            parts,
            rope: rotated.then(|| b.param("rope", F32X2, heads.ctx * heads.dims, Access::Read, ALIGN)),
            q: parts.q.then(|| b.param("q", F32X2, rows * heads.q_stride() / 2, Access::Write, ALIGN)),
            k_cache: parts.k.then(|| cache(b, "k_cache")),
            v_cache: parts.v.then(|| cache(b, "v_cache")),
        }
    }

    fn store(&self, b: &mut KernelBuilder, place: ValueId, f: &Finished) {
        let h = self.heads;
        let count = |on: bool, heads: u32| if on { heads * h.blocks() } else { 0 };
        let q_end = count(self.parts.q, h.heads);
        let k_end = q_end + count(self.parts.k, h.kv_heads);
        let position = b.builtin(Builtin::P);
        let position = b.add(position, f.token);
        let position = b.min(position, h.ctx - 1);
        let store_q = |b: &mut KernelBuilder| {
            let Some(q) = self.q else { return };
            let block = b.min(f.unit, q_end.max(1) - 1);
            self.pairs(b, place, block, f.quads[0], Some(position), |b, head, pair, value| {
                let at = b.mul(f.token, h.heads);
                let at = b.add(at, head);
                let at = b.mul(at, h.pairs());
                let at = b.add(at, pair);
                b.store(q, at, value);
            });
        };
        let local = |b: &mut KernelBuilder, begin: u32| {
            let block = b.max(f.unit, begin);
            let block = b.sub(block, begin);
            b.min(block, h.kv_heads * h.blocks() - 1)
        };
        let store_k = |b: &mut KernelBuilder, begin: u32| {
            let Some(cache) = self.k_cache else { return };
            let block = local(b, begin);
            self.pairs(b, place, block, f.quads[0], Some(position), |b, head, pair, value| {
                let first = h.key_index(b, head, position);
                let at = h.key_pair(b, first, pair);
                h.store_pair(b, cache, at, value);
            });
        };
        let store_v = |b: &mut KernelBuilder, begin: u32| {
            let Some(cache) = self.v_cache else { return };
            let block = local(b, begin);
            self.pairs(b, place, block, f.quads[0], None, |b, head, pair, value| {
                let first = h.value_index(b, head, position);
                let at = b.add(first, pair);
                h.store_pair(b, cache, at, value);
            });
        };
        self.parts.of_unit(b, f.unit, (q_end, k_end), store_q, store_k, store_v);
    }

    /// Calls `store` with head, pair and value of both pairs of a quad of a block, rotated for a position.
    fn pairs(
        &self,
        b: &mut KernelBuilder,
        place: ValueId,
        block: ValueId,
        quad: ValueId,
        position: Option<ValueId>,
        store: impl Fn(&mut KernelBuilder, ValueId, ValueId, ValueId),
    ) {
        let h = self.heads;
        let head = b.div(block, h.blocks());
        let within = b.binary(BinaryOp::Rem, block, h.blocks());
        let within = b.mul(within, BLOCK / 2);
        let first = b.mul(place, QUAD / 2);
        let first = b.add(within, first);
        for i in 0..(QUAD / 2) as u16 {
            let pair = b.add(first, u32::from(i));
            let exists = b.cmp(CmpOp::Lt, pair, h.pairs());
            // Taken here, where it is needed: in the guard the range verifier would take it for nothing new.
            let pair = b.min(pair, h.pairs() - 1);
            let value = b.shuffle(quad, quad, vec![2 * i, 2 * i + 1]);
            let emit = |b: &mut KernelBuilder| {
                let value = match (self.rope, position) {
                    (Some(rope), Some(position)) => self.rotated(b, rope, position, pair, value),
                    _ => value,
                };
                store(b, head, pair, value);
            };
            if h.dims == h.packed_rows {
                emit(b);
            } else {
                b.if_(exists, emit);
            }
        }
    }

    fn rotated(&self, b: &mut KernelBuilder, rope: BufId, position: ValueId, pair: ValueId, value: ValueId) -> ValueId {
        let at = b.mul(position, self.heads.dims);
        let at = b.add(at, pair);
        let cos = b.load(F32X2, rope, at);
        let at = b.add(at, self.heads.pairs());
        let sin = b.load(F32X2, rope, at);
        let swapped = b.shuffle(value, value, vec![1, 0]);
        let straight = b.mul(value, cos);
        b.fma(swapped, sin, straight)
    }
}

/// Writes the logits of a quad; those past the vocabulary do not exist.
fn store_logits(b: &mut KernelBuilder, logits: BufId, vocab: u32, place: ValueId, f: &Finished, values: ValueId) {
    let column = b.mul(f.unit, BLOCK);
    let first = b.mul(place, QUAD);
    let column = b.add(column, first);
    let row = b.mul(f.token, vocab);
    for i in 0..QUAD as u16 {
        let column = b.add(column, u32::from(i));
        let exists = b.cmp(CmpOp::Lt, column, vocab);
        b.if_(exists, |b| {
            let at = b.add(row, column);
            let value = b.extract(values, i);
            b.store(logits, at, value);
        });
    }
}

//! What follows a product, by quads: the next norm, rotation and cache writes ([`super::qkv`]), the gate, rows as they are, logits.
//!
//! A lane holds quads of features, of one token each; its eight neighbours hold the rest of the block. All lanes run an
//! epilogue in uniform flow; what is not to be stored is marked so, and has a token and a unit in range all the same.

use slmc_ir::kernel::{Access, BinaryOp, BufId, Builtin, CmpOp, KernelBuilder, ReduceOp, ValueId};

use super::activation::{ALIGN, ActParams, Exchange, F32, F32X4, GROUP_LANES, QUAD, Quad, params, store_quads};
use super::heads::BLOCK;
use super::qkv::QkvOutput;
use crate::lower::activation::{ActShape, GROUP};
use crate::lower::emit::Epilogue;
use crate::lower::gate::Gate;
use crate::lower::softcap::capped;

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
            .filter_map(|f| {
                let within = b.mul(f.unit, GROUP_LANES);
                let within = b.add(within, place);
                let at = b.mul(f.token, self.quads);
                let at = b.add(at, within);
                // Lanes that store nothing may share their place with one that does, so they do not read either.
                let sum = self.normed.as_ref().map(|_| b.var(F32X4, 0.0f32));
                b.if_(f.stored, |b| {
                    let old = b.load(F32X4, self.residual, at);
                    let new = b.add(old, f.quads[0]);
                    b.store(self.residual, at, new);
                    if let Some(sum) = sum {
                        b.set(sum, new);
                    }
                });
                let values = b.get(sum?);
                Some((within, Stream { row: f.token, group: f.unit, values, stored: f.stored }))
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

//! Epilogues of the matrix kernels other than q, k, v: residual with the next norm, rows, gated activation, logits.

use slmc_ir::kernel::{Access, BufId, CmpOp, KernelBuilder, Scalar, Type, ValueId};

use super::activation::{ActParams, NormedOutput, params, store_group};
use super::matmul::Finished;
use crate::lower::activation::{ActShape, GROUP};
use crate::lower::gate::Gate;
use crate::lower::softcap::capped;

/// Adds results to the residual row in place and, where a split norm follows, writes its activations.
#[derive(Debug)]
pub struct ResidualOutput {
    residual: BufId,
    stride: u32,
    normed: Option<NormedOutput>,
}

impl ResidualOutput {
    /// Declares the parameters: residual rows, then norm weight and the activations written.
    pub fn declare(b: &mut KernelBuilder, features: u32, out: Option<ActShape>, residual_rows: u32) -> Self {
        let stride = features.next_multiple_of(GROUP);
        let residual = b.param("residual", Type::scalar(Scalar::F32), residual_rows * stride, Access::ReadWrite, 64);
        Self { residual, stride, normed: out.map(|out| NormedOutput::declare(b, out)) }
    }

    /// Emits the code for 32 features of one token.
    pub fn store(&self, b: &mut KernelBuilder, done: &Finished) {
        let at = b.mul(done.token, self.stride);
        let feature = b.mul(done.unit, GROUP);
        let at = b.add(at, feature);
        let values: Vec<ValueId> = done
            .rows
            .iter()
            .enumerate()
            .map(|(i, &y)| {
                let ty = b.ty(y);
                let at = b.add(at, i as u32 * u32::from(ty.lanes));
                let old = b.load(ty, self.residual, at);
                let new = b.add(old, y);
                b.store(self.residual, at, new);
                new
            })
            .collect();
        if let Some(normed) = &self.normed {
            normed.store(b, done.token, done.unit, &values);
        }
    }
}

/// Writes rows as they are.
#[derive(Debug)]
pub struct RowsOutput {
    out: BufId,
    stride: u32,
}

impl RowsOutput {
    /// Declares the parameter: f32 [rows, features rounded up to 32].
    pub fn declare(b: &mut KernelBuilder, features: u32, rows: u32) -> Self {
        let stride = features.next_multiple_of(GROUP);
        Self { out: b.param("rows", Type::scalar(Scalar::F32), rows * stride, Access::Write, 64), stride }
    }

    /// Emits the code for 32 features of one token.
    pub fn store(&self, b: &mut KernelBuilder, done: &Finished) {
        let at = b.mul(done.token, self.stride);
        let feature = b.mul(done.unit, GROUP);
        let at = b.add(at, feature);
        for (i, &y) in done.rows.iter().enumerate() {
            let to = b.add(at, i as u32 * u32::from(b.ty(y).lanes));
            b.store(self.out, to, y);
        }
    }
}

/// Combines 32 gate rows and 32 up rows to 32 features.
#[derive(Debug)]
pub struct GatedOutput {
    gate: Gate,
    act: ActParams,
    shape: ActShape,
}

impl GatedOutput {
    /// Declares the parameters: the activations written.
    pub fn declare(b: &mut KernelBuilder, gate: Gate, shape: ActShape) -> Self {
        let (act, _) = params(&shape, b, Access::Write);
        Self { gate, act, shape }
    }

    /// Emits the code for 32 features of one token.
    pub fn store(&self, b: &mut KernelBuilder, done: &Finished) {
        let (gates, ups) = done.rows.split_at(done.rows.len() / 2);
        let values: Vec<ValueId> = gates
            .iter()
            .zip(ups)
            .map(|(&g, &u)| {
                let a = self.gate.apply(b, g);
                b.mul(a, u)
            })
            .collect();
        store_group(b, &self.act, &self.shape, done.token, done.unit, &values);
    }
}

/// Writes logits.
#[derive(Debug)]
pub struct LogitsOutput {
    logits: BufId,
    vocab: u32,
    softcap: Option<f32>,
}

impl LogitsOutput {
    /// Declares the parameter: f32 [rows, vocab].
    pub fn declare(b: &mut KernelBuilder, vocab: u32, rows: u32, softcap: Option<f32>) -> Self {
        Self { logits: b.param("logits", Type::scalar(Scalar::F32), rows * vocab, Access::Write, 64), vocab, softcap }
    }

    /// Emits the code for one block of one row. The last block of a vocabulary that is no multiple of the lanes is written lane
    /// by lane.
    pub fn store(&self, b: &mut KernelBuilder, done: &Finished) {
        let y = capped(b, done.rows[0], self.softcap);
        let lanes = b.ty(y).lanes;
        let whole = self.vocab / u32::from(lanes);
        let rest = self.vocab % u32::from(lanes);
        let at = b.mul(done.token, self.vocab);
        let write = |b: &mut KernelBuilder| {
            let unit = b.min(done.unit, whole.max(1) - 1);
            let first = b.mul(unit, u32::from(lanes));
            let to = b.add(at, first);
            b.store(self.logits, to, y);
        };
        let write_rest = |b: &mut KernelBuilder| {
            for i in 0..rest {
                let to = b.add(at, whole * u32::from(lanes) + i);
                let v = b.extract(y, i as u16);
                b.store(self.logits, to, v);
            }
        };
        match (whole, rest) {
            (_, 0) => write(b),
            (0, _) => write_rest(b),
            _ => {
                let is_whole = b.cmp(CmpOp::Lt, done.unit, whole);
                b.if_else(is_whole, write, write_rest);
            }
        }
    }
}

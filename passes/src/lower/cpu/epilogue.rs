//! Epilogues of the matrix kernels other than q, k, v: residual with the next norm, gated activation, logits.

use slmc_ir::kernel::{Access, BufId, CmpOp, KernelBuilder, Scalar, Type, ValueId};

use super::activation::{ActParams, NormedOutput, params, store_group};
use super::matmul::Finished;
use crate::lower::activation::{ActShape, GROUP};
use crate::lower::gate::Gate;

/// Adds results to the residual row in place and writes the next norm's activations.
#[derive(Debug)]
pub struct ResidualOutput {
    residual: BufId,
    stride: u32,
    normed: NormedOutput,
}

impl ResidualOutput {
    /// Declares the parameters: residual rows, norm weight, then the activations written.
    pub fn declare(b: &mut KernelBuilder, out: ActShape, residual_rows: u32) -> Self {
        let f32s = Type::scalar(Scalar::F32);
        let stride = out.stride();
        let residual = b.param("residual", f32s, residual_rows * stride, Access::ReadWrite, 64);
        let weight = b.param("norm", f32s, stride, Access::Read, 64);
        let (act, squares) = params(&out, b, Access::Write);
        let squares = squares.expect("invariant: a residual's activations are normed");
        Self { residual, stride, normed: NormedOutput { act, shape: out, squares, weight } }
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
        self.normed.store(b, done.token, done.unit, &values);
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
}

impl LogitsOutput {
    /// Declares the parameter: f32 [rows, vocab].
    pub fn declare(b: &mut KernelBuilder, vocab: u32, rows: u32) -> Self {
        Self { logits: b.param("logits", Type::scalar(Scalar::F32), rows * vocab, Access::Write, 64), vocab }
    }

    /// Emits the code for one block of one row. The last block of a vocabulary that is no multiple of the lanes is written lane
    /// by lane.
    pub fn store(&self, b: &mut KernelBuilder, done: &Finished) {
        let y = done.rows[0];
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

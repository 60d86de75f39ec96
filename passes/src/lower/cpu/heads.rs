//! The epilogue of the q, k and v projections.
//!
//! RoPE partners are beside each other, so a rotation is a lane swap and two products within one block.

use slmc_ir::kernel::{Access, BinaryOp, BufId, Builtin, KernelBuilder, Scalar, Type, ValueId};

use super::cache::{Half, Place};
use super::matmul::Finished;
use super::schedule::Schedule;
use crate::lower::heads::{Heads, Parts};

/// Rotates q and k, writes q to the arena and k and v to the cache.
#[derive(Debug)]
pub struct QkvOutput {
    heads: Heads,
    parts: Parts,
    rope: Option<BufId>,
    q: Option<BufId>,
    k_cache: Option<Half>,
    v_cache: Option<Half>,
}

impl QkvOutput {
    /// Declares the parameters that `parts` need: rope table (`rotated`), q rows, key cache, value cache.
    pub fn declare(b: &mut KernelBuilder, heads: Heads, parts: Parts, rotated: bool, rows: u32, sched: &Schedule) -> Self {
        let f32s = Type::scalar(Scalar::F32);
        let rotated = rotated && (parts.q || parts.k);
        Self {
            heads,
            parts,
            rope: rotated.then(|| b.param("rope", f32s, heads.ctx * 2 * heads.dims, Access::Read, 64)),
            q: parts.q.then(|| b.param("q", f32s, rows * heads.q_stride(), Access::Write, 64)),
            k_cache: parts.k.then(|| Half::declare(b, "k_cache", heads, sched, Access::Write)),
            v_cache: parts.v.then(|| Half::declare(b, "v_cache", heads, sched, Access::Write)),
        }
    }

    /// Emits the code for one unit of one token, [`Heads::unit_rows`] rows.
    pub fn store(&self, b: &mut KernelBuilder, sched: &Schedule, done: &Finished) {
        let h = self.heads;
        let lanes = u32::from(sched.lanes);
        let unit_rows = h.unit_rows(lanes);
        let per_head = h.dims / unit_rows;
        let q_end = if self.parts.q { h.heads * per_head } else { 0 };
        let k_end = q_end + if self.parts.k { h.kv_heads * per_head } else { 0 };
        let p = b.builtin(Builtin::P);
        let pos = b.add(p, done.token);
        let pos = b.min(pos, h.ctx - 1);
        let store_q = |b: &mut KernelBuilder| {
            let Some(q) = self.q else { return };
            let unit = b.min(done.unit, q_end - 1);
            let dim = b.binary(BinaryOp::Rem, unit, per_head);
            let dim = b.mul(dim, unit_rows);
            let rotated = self.rotate(b, &done.rows, pos, dim);
            let at = b.mul(done.token, h.q_stride());
            let feature = b.mul(unit, unit_rows);
            let at = b.add(at, feature);
            for (row, i) in rotated.into_iter().zip(0..) {
                let to = b.add(at, i * lanes);
                b.store(q, to, row);
            }
        };
        let place = |b: &mut KernelBuilder, begin: u32| {
            let local = b.max(done.unit, begin);
            let local = b.sub(local, begin);
            let local = b.min(local, h.kv_heads * per_head - 1);
            let head = b.div(local, per_head);
            let dim = b.binary(BinaryOp::Rem, local, per_head);
            let dim = b.mul(dim, unit_rows);
            Place { head, dim, position: h.place(b, pos) }
        };
        let store_k = |b: &mut KernelBuilder, begin: u32| {
            let Some(cache) = self.k_cache else { return };
            let to = place(b, begin);
            let rotated = self.rotate(b, &done.rows, pos, to.dim);
            cache.store_key(b, to, &rotated);
        };
        let store_v = |b: &mut KernelBuilder, begin: u32| {
            let Some(cache) = self.v_cache else { return };
            let to = place(b, begin);
            cache.store_value(b, to, &done.rows);
        };
        self.parts.of_unit(b, done.unit, (q_end, k_end), store_q, store_k, store_v);
    }

    /// Rotates vectors of neighbouring dims of a head, from `dim` on.
    fn rotate(&self, b: &mut KernelBuilder, rows: &[ValueId], pos: ValueId, dim: ValueId) -> Vec<ValueId> {
        let Some(rope) = self.rope else { return rows.to_vec() };
        let at = b.mul(pos, 2 * self.heads.dims);
        let at = b.add(at, dim);
        rows.iter()
            .zip(0..)
            .map(|(&y, i)| {
                let ty = b.ty(y);
                let at = b.add(at, i * u32::from(ty.lanes));
                let cos = b.load(ty, rope, at);
                let at = b.add(at, self.heads.dims);
                let sin = b.load(ty, rope, at);
                let swapped = b.shuffle(y, y, (0..ty.lanes).map(|i| i ^ 1).collect());
                let straight = b.mul(y, cos);
                b.fma(swapped, sin, straight)
            })
            .collect()
    }
}

//! How heads lie in the KV cache, and the epilogue of the q, k and v projections.
//!
//! RoPE partners are beside each other, so a rotation is a lane swap and two products within one block. The key cache is
//! `[kv_heads, positions / lanes, dims, lanes]` (positions innermost, so that scores need no horizontal sums), the value cache
//! `[kv_heads, positions, dims]`.

use slmc_ir::graph::DType;
use slmc_ir::kernel::{Access, BinaryOp, BufId, Builtin, KernelBuilder, Scalar, Type, ValueId};

use super::matmul::Finished;
use super::schedule::Schedule;
use crate::lower::heads::{Heads, Parts};

/// Element type of the cache.
pub fn cache_elem(heads: &Heads) -> Type {
    Type::scalar(if heads.cache == DType::F16 { Scalar::F16 } else { Scalar::F32 })
}

/// The epilogue of the q, k, v projection: rotates q and k, writes q to the arena and k and v to the cache.
#[derive(Debug)]
pub struct QkvOutput {
    heads: Heads,
    parts: Parts,
    rope: Option<BufId>,
    q: Option<BufId>,
    k_cache: Option<BufId>,
    v_cache: Option<BufId>,
}

impl QkvOutput {
    /// Declares the parameters that `parts` need: rope table (`rotated`), q rows, key cache, value cache.
    pub fn declare(b: &mut KernelBuilder, heads: Heads, parts: Parts, rotated: bool, rows: u32) -> Self {
        let f32s = Type::scalar(Scalar::F32);
        let elem = cache_elem(&heads);
        let rotated = rotated && (parts.q || parts.k);
        Self {
            heads,
            parts,
            rope: rotated.then(|| b.param("rope", f32s, heads.ctx * 2 * heads.dims, Access::Read, 64)),
            q: parts.q.then(|| b.param("q", f32s, rows * heads.q_stride(), Access::Write, 64)),
            k_cache: parts.k.then(|| b.param("k_cache", elem, heads.cache_len(), Access::Write, 64)),
            v_cache: parts.v.then(|| b.param("v_cache", elem, heads.cache_len(), Access::Write, 64)),
        }
    }

    /// Emits the code for one block of one token.
    pub fn store(&self, b: &mut KernelBuilder, sched: &Schedule, done: &Finished) {
        let h = self.heads;
        let lanes = u32::from(sched.lanes);
        let per_head = h.dims / lanes;
        let q_end = if self.parts.q { h.heads * per_head } else { 0 };
        let k_end = q_end + if self.parts.k { h.kv_heads * per_head } else { 0 };
        let y = done.rows[0];
        let p = b.builtin(Builtin::P);
        let pos = b.add(p, done.token);
        let pos = b.min(pos, h.ctx - 1);
        let store_q = |b: &mut KernelBuilder| {
            let Some(q) = self.q else { return };
            let unit = b.min(done.unit, q_end - 1);
            let rotated = self.rotate(b, y, pos, unit, per_head, lanes);
            let at = b.mul(done.token, h.q_stride());
            let feature = b.mul(unit, lanes);
            let at = b.add(at, feature);
            b.store(q, at, rotated);
        };
        let local = |b: &mut KernelBuilder, begin: u32| {
            let local = b.max(done.unit, begin);
            let local = b.sub(local, begin);
            b.min(local, h.kv_heads * per_head - 1)
        };
        let store_k = |b: &mut KernelBuilder, begin: u32| {
            let Some(cache) = self.k_cache else { return };
            let block = local(b, begin);
            let rotated = self.rotate(b, y, pos, block, per_head, lanes);
            self.store_key(b, cache, sched, rotated, pos, block, per_head);
        };
        let store_v = |b: &mut KernelBuilder, begin: u32| {
            let Some(cache) = self.v_cache else { return };
            let block = local(b, begin);
            let (head, dim) = self.place(b, block, per_head, lanes);
            let at = b.mul(head, h.positions);
            let place = h.place(b, pos);
            let at = b.add(at, place);
            let at = b.mul(at, h.dims);
            let at = b.add(at, dim);
            let v = if h.cache == DType::F16 { b.convert(y, Scalar::F16) } else { y };
            b.store(cache, at, v);
        };
        self.parts.of_unit(b, done.unit, (q_end, k_end), store_q, store_k, store_v);
    }

    /// Head and first dim of a block.
    fn place(&self, b: &mut KernelBuilder, block: ValueId, per_head: u32, lanes: u32) -> (ValueId, ValueId) {
        let head = b.div(block, per_head);
        let dim = b.binary(BinaryOp::Rem, block, per_head);
        (head, b.mul(dim, lanes))
    }

    fn rotate(&self, b: &mut KernelBuilder, y: ValueId, pos: ValueId, unit: ValueId, per_head: u32, lanes: u32) -> ValueId {
        let Some(rope) = self.rope else { return y };
        let (_, dim) = self.place(b, unit, per_head, lanes);
        let at = b.mul(pos, 2 * self.heads.dims);
        let at = b.add(at, dim);
        let ty = b.ty(y);
        let cos = b.load(ty, rope, at);
        let at = b.add(at, self.heads.dims);
        let sin = b.load(ty, rope, at);
        let swapped = b.shuffle(y, y, (0..ty.lanes).map(|i| i ^ 1).collect());
        let straight = b.mul(y, cos);
        b.fma(swapped, sin, straight)
    }

    #[allow(clippy::too_many_arguments, reason = "the places of one emitted loop body, named at its only call")]
    fn store_key(&self, b: &mut KernelBuilder, cache: BufId, sched: &Schedule, key: ValueId, pos: ValueId, block: ValueId, per_head: u32) {
        let h = self.heads;
        let lanes = u32::from(sched.lanes);
        let (head, dim) = self.place(b, block, per_head, lanes);
        let at = b.mul(head, h.positions / lanes);
        let place = h.place(b, pos);
        let column = b.div(place, lanes);
        let at = b.add(at, column);
        let at = b.mul(at, h.dims);
        let at = b.add(at, dim);
        let at = b.mul(at, lanes);
        let within = b.binary(BinaryOp::Rem, place, lanes);
        let at = b.add(at, within);
        let key = if h.cache == DType::F16 { b.convert(key, Scalar::F16) } else { key };
        for i in 0..sched.lanes {
            let to = b.add(at, u32::from(i) * lanes);
            let v = b.extract(key, i);
            b.store(cache, to, v);
        }
    }
}

//! What follows q, k and v, by quads: rotation, query rows, cache writes. Common to products whose epilogue it is and to the
//! kernel that norms heads first.

use slmc_ir::kernel::{Access, BinaryOp, BufId, Builtin, CmpOp, KernelBuilder, Scalar, Type, ValueId};

use super::activation::{ALIGN, QUAD};
use super::epilogue::Finished;
use super::heads::BLOCK;
use crate::lower::heads::{Heads, Parts};

const F32X2: Type = Type::vector(Scalar::F32, 2);

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
    /// Declares the parameters; `rows` are those of q in the arena.
    pub fn declare(b: &mut KernelBuilder, heads: Heads, parts: Parts, rotated: bool, rows: u32) -> Self {
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

    /// Stores quad `place` of a block of rows.
    pub fn store(&self, b: &mut KernelBuilder, place: ValueId, f: &Finished) {
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

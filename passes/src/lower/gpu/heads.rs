//! How attention heads lie in rows and in the KV cache of a GPU.
//!
//! Everything is addressed by *pairs*: dims `2i` and `2i + 1` of a head in packed order, RoPE partners where the head rotates.
//! A head has `dims` of them stored, its own number rounded up to even; rows of a projection are packed in blocks of 32, so
//! there a head takes `packed_rows`, dims rounded up to 32: a block lies in one head, and what it computes beyond `dims` is
//! not stored. Query rows are f32 `[T, heads, dims]`.
//!
//! The key cache is `[kv_heads, places / 32, dims / 2, 32]` pairs: attention gives each lane a position, and neighbouring
//! lanes read neighbouring words. The value cache is `[kv_heads, places, dims / 2]` pairs: there lanes have dims. A pair is
//! one word of two f16, or two f32. Position p lies in place p; in a ring, which has fewer places than the context has positions,
//! in place p mod places. Places are whole runs of 32, so the 32 positions that a run holds lie beside each other there too.

use slmc_ir::graph::{AttentionAttrs, DType};
use slmc_ir::kernel::{BinaryOp, BufId, KernelBuilder, Scalar, Type, ValueId};

use crate::lower::heads::Heads;
use crate::lower::launch::Limits;

/// Positions whose pairs lie beside each other in the key cache, and rows of a packed block.
pub const BLOCK: u32 = 32;

/// The geometry of a layer.
pub fn geometry(attrs: &AttentionAttrs, cache: DType, limits: &Limits) -> Heads {
    Heads::new(attrs, cache, limits, 2, BLOCK, BLOCK)
}

impl Heads {
    /// Pairs of a head as stored.
    pub fn pairs(&self) -> u32 {
        self.dims / 2
    }
    /// Packed blocks of a head.
    pub fn blocks(&self) -> u32 {
        self.packed_rows / BLOCK
    }
    /// Element type of the cache: a pair.
    pub fn pair(&self) -> Type {
        Type::vector(if self.cache == DType::F16 { Scalar::F16 } else { Scalar::F32 }, 2)
    }
    /// Pairs of one cache half.
    pub fn cache_pairs(&self) -> u32 {
        self.cache_len() / 2
    }

    /// Index in f32 of dim `dim` of a query head of a token's row.
    pub fn query_index(&self, b: &mut KernelBuilder, token: ValueId, head: ValueId, dim: ValueId) -> ValueId {
        let row = b.mul(token, self.q_stride());
        let head = b.mul(head, self.dims);
        let at = b.add(row, head);
        b.add(at, dim)
    }

    /// Index in pairs of the first pair of a position in the key cache; those of the next pairs follow at steps of [`BLOCK`].
    /// In range for `kv_head < kv_heads`, `position < ctx`.
    pub fn key_index(&self, b: &mut KernelBuilder, kv_head: ValueId, position: ValueId) -> ValueId {
        let block = b.div(position, BLOCK);
        let block = if self.ring().is_some() { b.binary(BinaryOp::Rem, block, self.positions / BLOCK) } else { block };
        // A bit operation: a remainder stays tied to its quotient, behind which the range verifier does not see that both end.
        let place = b.binary(BinaryOp::And, position, BLOCK - 1);
        let first = b.mul(kv_head, self.positions / BLOCK);
        let block = b.add(first, block);
        let at = b.mul(block, self.pairs() * BLOCK);
        b.add(at, place)
    }

    /// Index in pairs of a pair of the key that begins at `key_index`.
    pub fn key_pair(&self, b: &mut KernelBuilder, key_index: ValueId, pair: ValueId) -> ValueId {
        let at = b.mul(pair, BLOCK);
        b.add(key_index, at)
    }

    /// Index in pairs of the first pair of a position in the value cache; the next pairs follow.
    pub fn value_index(&self, b: &mut KernelBuilder, kv_head: ValueId, position: ValueId) -> ValueId {
        let place = self.place(b, position);
        let row = b.mul(kv_head, self.positions);
        let row = b.add(row, place);
        b.mul(row, self.pairs())
    }

    /// Loads a pair of a cache half as f32x2.
    pub fn load_pair(&self, b: &mut KernelBuilder, cache: BufId, at: ValueId) -> ValueId {
        let pair = b.load(self.pair(), cache, at);
        if self.cache == DType::F16 { b.convert(pair, Scalar::F32) } else { pair }
    }

    /// Stores a pair, f32x2, to a cache half.
    pub fn store_pair(&self, b: &mut KernelBuilder, cache: BufId, at: ValueId, pair: ValueId) {
        let pair = if self.cache == DType::F16 { b.convert(pair, Scalar::F16) } else { pair };
        b.store(cache, at, pair);
    }
}

//! How attention heads lie in rows and in the KV cache of a GPU.
//!
//! Everything is addressed by *pairs*: dims `2i` and `2i + 1` of a head in packed order, RoPE partners where the head rotates.
//! A head has `dims` of them stored, its own number rounded up to even; rows of a projection are packed in blocks of 32, so
//! there a head takes `packed_rows`, dims rounded up to 32: a block lies in one head, and what it computes beyond `dims` is
//! not stored. Query rows are f32 `[T, heads, dims]`.
//!
//! The key cache is `[kv_heads, positions / 32, dims / 2, 32]` pairs: attention gives each lane a position, and neighbouring
//! lanes read neighbouring words. The value cache is `[kv_heads, positions, dims / 2]` pairs: there lanes have dims. A pair is
//! one word of two f16, or two f32.

use slmc_ir::graph::{AttentionAttrs, DType, WeightId};
use slmc_ir::kernel::{BinaryOp, BufId, KernelBuilder, Scalar, Type, ValueId};

use crate::lower::head_rows::head_rows;

/// Positions whose pairs lie beside each other in the key cache, and rows of a packed block.
pub const BLOCK: u32 = 32;

/// Geometry of the heads of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heads {
    /// Query heads.
    pub heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Dims of a head in the checkpoint.
    pub head_dim: u32,
    /// Dims as stored: even.
    pub dims: u32,
    /// Positions that a cache half holds: `ctx` rounded up to a multiple of 32.
    pub positions: u32,
    /// Positions that a session may use.
    pub ctx: u32,
    /// f32 or f16.
    pub cache: DType,
}

impl Heads {
    /// The geometry of a layer.
    pub fn new(attrs: &AttentionAttrs, cache: DType, ctx: u32) -> Self {
        Self {
            heads: attrs.heads,
            kv_heads: attrs.kv_heads,
            head_dim: attrs.head_dim,
            dims: attrs.head_dim.next_multiple_of(2),
            positions: ctx.next_multiple_of(BLOCK),
            ctx,
            cache,
        }
    }
    /// Query heads that share a KV head.
    pub fn group(&self) -> u32 {
        self.heads / self.kv_heads
    }
    /// Pairs of a head as stored.
    pub fn pairs(&self) -> u32 {
        self.dims / 2
    }
    /// Rows of a head in a packed projection: a multiple of 32.
    pub fn packed_rows(&self) -> u32 {
        self.head_dim.next_multiple_of(BLOCK)
    }
    /// Packed blocks of a head.
    pub fn blocks(&self) -> u32 {
        self.packed_rows() / BLOCK
    }
    /// Element type of the cache: a pair.
    pub fn pair(&self) -> Type {
        Type::vector(if self.cache == DType::F16 { Scalar::F16 } else { Scalar::F32 }, 2)
    }
    /// Pairs of one cache half.
    pub fn cache_len(&self) -> u32 {
        self.kv_heads * self.positions * self.pairs()
    }
    /// Bytes of one cache half.
    pub fn cache_bytes(&self) -> u64 {
        u64::from(self.cache_len()) * u64::from(self.pair().bytes())
    }
    /// Bytes that a position takes in one cache half.
    pub fn position_bytes(&self) -> u32 {
        self.kv_heads * self.pairs() * self.pair().bytes()
    }
    /// Elements (f32) of a query row.
    pub fn q_stride(&self) -> u32 {
        self.heads * self.dims
    }
    /// The part of a kernel's name that tells the geometry.
    pub fn tag(&self) -> String {
        format!("h{}x{}k{}_{}_c{}", self.heads, self.head_dim, self.kv_heads, self.cache, self.ctx)
    }
    /// Packed rows of `heads` heads of a weight: RoPE partners beside each other if `rotary > 0`.
    pub fn rows(&self, weight: WeightId, heads: u32, rotary: u32) -> Vec<Option<(WeightId, u32)>> {
        head_rows(weight, heads, self.head_dim, self.packed_rows(), rotary)
    }

    /// Index in f32 of dim `dim` of a query head of a token's row.
    pub fn query_index(&self, b: &mut KernelBuilder, token: ValueId, head: ValueId, dim: ValueId) -> ValueId {
        let row = b.mul(token, self.q_stride());
        let head = b.mul(head, self.dims);
        let at = b.add(row, head);
        b.add(at, dim)
    }

    /// Index in pairs of the first pair of a position in the key cache; those of the next pairs follow at steps of [`BLOCK`].
    /// In range for `kv_head < kv_heads`, `position < positions`.
    pub fn key_index(&self, b: &mut KernelBuilder, kv_head: ValueId, position: ValueId) -> ValueId {
        let block = b.div(position, BLOCK);
        let place = b.binary(BinaryOp::Rem, position, BLOCK);
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
        let row = b.mul(kv_head, self.positions);
        let row = b.add(row, position);
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

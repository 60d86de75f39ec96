//! Geometry of attention heads, and the order of their rows in packed projections.
//!
//! A head is padded twice: to `packed_rows` in projections, so that a block of rows lies in one head, and to `dims` in query
//! rows and in the cache. Rows of q and k heads are packed with RoPE partners beside each other, so a rotation needs no other
//! block; dot products of q and k do not see the order. How the KV cache lies is each target kind's own.

use slmc_ir::graph::{AttentionAttrs, DType, WeightId, paired_dim};
use slmc_ir::kernel::{BinaryOp, CmpOp, KernelBuilder, ValueId};
use slmc_ir::plan::Ring;

use super::activation::GROUP;
use super::launch::Limits;

/// Geometry of the heads of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heads {
    /// Query heads.
    pub heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Dims of a head in the checkpoint.
    pub head_dim: u32,
    /// Dims as stored in query rows and the cache.
    pub dims: u32,
    /// Rows of a head in a packed projection: whole blocks, at least `dims`.
    pub packed_rows: u32,
    /// Positions that a cache half holds; fewer than the session may use where it is a ring.
    pub positions: u32,
    /// Positions that a token sees, itself included, where that is fewer than the session may use.
    pub window: Option<u32>,
    /// Positions that a session may use.
    pub ctx: u32,
    /// f32, f16 or q8g32. Of the last a half has the codes, then the scales.
    pub cache: DType,
}

impl Heads {
    /// The geometry with dims, packed rows and positions padded to multiples. The cache of a layer with a window is a ring where
    /// that is shorter than the context: it holds the window of the first token of a step and the whole step, so that a
    /// step may be written before it is read.
    pub fn new(attrs: &AttentionAttrs, cache: DType, limits: &Limits, dims: u32, packed_rows: u32, positions: u32) -> Self {
        let Limits { ctx, chunk, .. } = *limits;
        let window = attrs.window.filter(|&window| window < ctx);
        let needed = window.map_or(ctx, |window| window.saturating_add(chunk - 1).min(ctx));
        Self {
            heads: attrs.heads,
            kv_heads: attrs.kv_heads,
            head_dim: attrs.head_dim,
            dims: attrs.head_dim.next_multiple_of(dims),
            packed_rows: attrs.head_dim.next_multiple_of(packed_rows),
            positions: needed.next_multiple_of(positions),
            window,
            ctx,
            cache,
        }
    }
    /// Query heads that share a KV head.
    pub fn group(&self) -> u32 {
        self.heads / self.kv_heads
    }
    /// Rows of a projection that its epilogue sees together, of blocks of `block`: those of a scale of the cache.
    pub fn unit_rows(&self, block: u32) -> u32 {
        if self.cache == DType::Q8 { GROUP } else { block }
    }
    /// Numbers in one cache half.
    pub fn cache_numbers(&self) -> u32 {
        self.kv_heads * self.positions * self.dims
    }
    /// Elements of one cache half: its numbers or, with scales, its bytes.
    pub fn cache_len(&self) -> u32 {
        if self.cache == DType::Q8 { self.cache_numbers() + self.cache_numbers() / GROUP * 2 } else { self.cache_numbers() }
    }
    /// Bytes of one cache half.
    pub fn cache_bytes(&self) -> u64 {
        let element = match self.cache {
            DType::Q8 => 1,
            DType::F16 => 2,
            _ => 4,
        };
        u64::from(self.cache_len()) * element
    }
    /// Elements of a query row.
    pub fn q_stride(&self) -> u32 {
        self.heads * self.dims
    }
    /// How the cache reuses places; `None` where each position has its own.
    pub fn ring(&self) -> Option<Ring> {
        let window = self.window.filter(|_| self.positions < self.ctx)?;
        Some(Ring { positions: self.positions, window })
    }
    /// Emits the place in the cache of a position.
    pub fn place(&self, b: &mut KernelBuilder, position: ValueId) -> ValueId {
        if self.ring().is_some() { b.binary(BinaryOp::Rem, position, self.positions) } else { position }
    }
    /// Emits the first place of a tile of `tile` positions, which divides those of the cache: no tile of a ring is cut.
    pub fn tile_place(&self, b: &mut KernelBuilder, index: ValueId, tile: u32) -> ValueId {
        let index = if self.ring().is_some() { b.binary(BinaryOp::Rem, index, self.positions / tile) } else { index };
        b.mul(index, tile)
    }
    /// The part of a kernel's name that tells the geometry.
    pub fn tag(&self) -> String {
        let window = self.window.map_or(String::new(), |window| format!("w{window}p{}", self.positions));
        format!("h{}x{}k{}_{}_c{}{window}", self.heads, self.head_dim, self.kv_heads, self.cache, self.ctx)
    }

    /// The elements of a weight of a norm per head, `[head_dim]`, in the order of packed rows of a head.
    pub fn norm_elems(&self, weight: WeightId, rotary: u32) -> Vec<Option<(WeightId, u32)>> {
        (0..self.packed_rows).map(|d| self.source_dim(d, rotary).map(|d| (weight, d))).collect()
    }

    /// Packed rows of `heads` heads of a weight: RoPE partners beside each other if `rotary > 0`.
    pub fn rows(&self, weight: WeightId, heads: u32, rotary: u32) -> Vec<Option<(WeightId, u32)>> {
        let mut rows = Vec::with_capacity((heads * self.packed_rows) as usize);
        for h in 0..heads {
            let base = h * self.head_dim;
            for d in 0..self.packed_rows {
                rows.push(self.source_dim(d, rotary).map(|d| (weight, base + d)));
            }
        }
        rows
    }

    fn source_dim(&self, d: u32, rotary: u32) -> Option<u32> {
        (d < self.head_dim).then(|| paired_dim(d, rotary))
    }
}

/// Which projections a kernel computes; those of one weight format share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Queries.
    pub q: bool,
    /// Keys.
    pub k: bool,
    /// Values.
    pub v: bool,
}

impl Parts {
    /// The part of a kernel's name that tells the projections.
    pub fn tag(self) -> String {
        [(self.q, 'q'), (self.k, 'k'), (self.v, 'v')].iter().filter(|(on, _)| *on).map(|(_, c)| c).collect()
    }

    /// Emits what is done with a unit of rows: of queries below `q_end`, of keys below `k_end`, else of values. Each is told the
    /// first unit of its own.
    pub fn of_unit(
        self,
        b: &mut KernelBuilder,
        unit: ValueId,
        (q_end, k_end): (u32, u32),
        query: impl FnOnce(&mut KernelBuilder),
        key: impl FnOnce(&mut KernelBuilder, u32),
        value: impl FnOnce(&mut KernelBuilder, u32),
    ) {
        let key_or_value = |b: &mut KernelBuilder| match (self.k, self.v) {
            (true, true) => {
                let is_key = b.cmp(CmpOp::Lt, unit, k_end);
                b.if_else(is_key, |b| key(b, q_end), |b| value(b, k_end));
            }
            (true, false) => key(b, q_end),
            (false, _) => value(b, k_end),
        };
        match (self.q, self.k || self.v) {
            (true, true) => {
                let is_query = b.cmp(CmpOp::Lt, unit, q_end);
                b.if_else(is_query, query, key_or_value);
            }
            (true, false) => query(b),
            (false, _) => key_or_value(b),
        }
    }
}

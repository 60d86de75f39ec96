//! Schedule parameters of the CPU kernels: what the target's registers suggest, or its tuning says.

use slmc_ir::target::{DotKind, Parameter, Target};

use crate::lower::activation::GROUP;

/// Bytes of a cache line, which a prefetch brings.
pub const LINE: u32 = 64;

/// Parameters that shape every CPU kernel.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Cores that the work is dealt to.
    pub cores: u32,
    /// f32 lanes of a vector: rows of a packed block, positions of a key block.
    pub lanes: u16,
    /// Tokens whose accumulators are held in registers at once in prefill; even.
    pub token_tile: u32,
    /// Columns of a row that lie together in a quantized matrix.
    pub k_step: u8,
    /// Rows of a block whose integer sums are formed together: all, or fewer where the sums of all would not fit in registers.
    pub slice_rows: u16,
    /// Whether a dot product takes its second factor as a lane of a vector, so that four lanes are loaded at once.
    pub dot_by_lane: bool,
    /// Whether unpacked weights of a whole group fit in registers beside the accumulators.
    pub hold_weights: bool,
    /// Query rows of an attention tile.
    pub attention_rows: u32,
    /// Cache positions that one step of the online softmax covers.
    pub attention_positions: u32,
    /// Accumulators of the probability-value product.
    pub value_registers: u32,
    /// How far ahead of their reads kernels prefetch weights, and those of decode the cache, bytes; 0 for not at all.
    pub prefetch_bytes: u32,
    /// Groups that a round of the loop over a product's columns covers.
    pub unroll: u32,
    /// Added to stored `q8` values.
    pub q8_offset: u8,
    /// Weight bytes that a decode tile reads, about.
    pub decode_tile_bytes: u64,
    /// Multiply-adds of a prefill tile, about.
    pub prefill_tile_macs: u64,
}

impl Schedule {
    /// The schedule for a target.
    pub fn new(target: &Target) -> Self {
        let lanes = target.block_rows;
        let registers = target.block_registers();
        let many = registers >= 32;
        // Instructions that add to a vector of sums, for which the rows of a block may be taken apart.
        let sums_in_place = matches!(target.dot, DotKind::I8I8 | DotKind::Mmla);
        let chosen = |parameter: Parameter, suggested: u32| target.tuning.get(parameter).unwrap_or(suggested);
        Self {
            cores: target.cores.max(1),
            lanes,
            k_step: if target.dot == DotKind::Mmla { 8 } else { 4 },
            slice_rows: if sums_in_place { lanes.min(8) } else { lanes },
            dot_by_lane: sums_in_place && target.vector_bits / 32 < lanes,
            token_tile: chosen(
                Parameter::TokenTile,
                if many {
                    16
                } else if registers >= 16 || sums_in_place {
                    4
                } else {
                    2
                },
            ),
            hold_weights: many,
            attention_rows: chosen(
                Parameter::AttentionRows,
                if many {
                    12
                } else if registers >= 16 {
                    6
                } else {
                    4
                },
            ),
            attention_positions: 64,
            value_registers: chosen(
                Parameter::ValueRegisters,
                if many {
                    24
                } else if registers >= 16 {
                    10
                } else {
                    8
                },
            ),
            prefetch_bytes: chosen(Parameter::Prefetch, 0),
            unroll: chosen(Parameter::Unroll, 1),
            q8_offset: if target.dot == DotKind::U8I8 { 128 } else { 0 },
            decode_tile_bytes: chosen(Parameter::DecodeTile, 48 << 10).into(),
            prefill_tile_macs: chosen(Parameter::PrefillTile, 12 << 20).into(),
        }
    }

    /// Blocks of rows in a unit of [`GROUP`] features.
    pub fn blocks_per_group(&self) -> u32 {
        GROUP / u32::from(self.lanes)
    }
}

/// The greatest divisor of `n` that is at most `limit`.
pub fn divisor_at_most(n: u32, limit: u32) -> u32 {
    (1..=limit.min(n)).rev().find(|d| n.is_multiple_of(*d)).unwrap_or(1)
}

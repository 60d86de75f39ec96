//! Which query rows and positions a workgroup of the attention kernel takes.
//!
//! Rows of a tile share every load of keys and values, but take registers and workgroup memory, and fewer workgroups are left
//! to keep a device busy. In decode, workgroups are scarce; in prefill, loads and workgroup memory are.

use slmc_ir::kernel::{Scalar, Type};

use super::super::activation::{Exchange, QUAD};
use super::super::reduce::{Reducer, Way};
use super::Attention;
use crate::lower::activation::GROUP;
use crate::lower::launch::Limits;

/// Lanes of a workgroup for each workgroup that a decode step should have: devices with wide ones have more cores.
const LANES_PER_WORKGROUP: u32 = 8;
/// Rows of a tile that fit registers.
const ROWS: u32 = 8;
/// Rows of a tile where fewer do not fill vectors.
const MOST_ROWS: u32 = 12;
/// Segments of a block, at most.
const SEGMENTS: u32 = 4;

/// What a workgroup covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Heads of a token; they divide those that share a KV head.
    pub heads: u32,
    /// Tokens; 1 if `heads` are not all that share a KV head.
    pub tokens: u32,
    /// Runs of `gpu.lanes` positions in a block.
    pub segments: u32,
}

impl Tile {
    /// Rows of a vector.
    pub fn width(&self) -> u16 {
        match self.heads * self.tokens {
            0 | 1 => 1,
            2 => 2,
            _ => 4,
        }
    }
    /// Vectors that hold a number of each row.
    pub(super) fn vectors(&self) -> u32 {
        (self.heads * self.tokens).div_ceil(u32::from(self.width()))
    }
    /// Token and head within the tile of row `row`; of a row that is missing, the last one's.
    pub(super) fn place(&self, row: u32) -> (u32, u32) {
        let row = row.min(self.heads * self.tokens - 1);
        (row / self.heads, row % self.heads)
    }
    pub(super) fn vec(&self) -> Type {
        Type::vector(Scalar::F32, self.width())
    }
}

impl Attention<'_> {
    /// The tile: as many rows as share loads without running out of registers, workgroups or workgroup memory.
    pub fn tile(&self, limits: &Limits) -> Tile {
        let h = self.heads;
        let group = h.group();
        let tokens = limits.tokens(self.phase);
        let divisors = || (1..=group).rev().filter(|d| group.is_multiple_of(*d));
        let wanted = if tokens == 1 {
            let heads = divisors().find(|&d| d <= ROWS && h.kv_heads * (group / d) >= self.gpu.lanes / LANES_PER_WORKGROUP).unwrap_or(1);
            Tile { heads, tokens: 1, segments: 1 }
        } else {
            let heads = divisors().find(|&d| d <= ROWS).unwrap_or(1);
            let most = if heads == group { (MOST_ROWS / heads).clamp(1, tokens) } else { 1 };
            let filled = |t: u32| (heads * t) * 100 / (heads * t).next_multiple_of(4);
            let tokens = (1..=most).max_by_key(|&t| (filled(t), heads * t <= ROWS, t)).unwrap_or(1);
            Tile { heads, tokens, segments: 1 }
        };
        let mut tile = Tile {
            segments: (ROWS / (wanted.heads * wanted.tokens)).clamp(1, SEGMENTS).min(self.visited(wanted.tokens).div_ceil(self.gpu.lanes)),
            ..wanted
        };
        while self.shared_bytes(&tile) > self.gpu.shared_bytes {
            if tile.segments > 1 {
                tile.segments -= 1;
            } else if tile.tokens > 1 {
                tile.tokens -= 1;
            } else if let Some(fewer) = divisors().find(|&d| d < tile.heads) {
                tile.heads = fewer;
            } else {
                break;
            }
        }
        tile
    }

    /// Bytes of workgroup memory for a tile.
    fn shared_bytes(&self, tile: &Tile) -> u32 {
        let lanes = self.gpu.lanes;
        let vector = tile.vectors() * tile.vec().bytes();
        let exchange = if self.by_quads() { Exchange::bytes(&self.out, lanes, self.quads(tile)) } else { 0 };
        vector * (self.heads.dims + tile.segments * lanes) + Reducer::bytes(Way::of(self.gpu), tile.vec(), lanes, tile.vectors()) + exchange
    }

    /// Whether results are stored by quads: a group of features lies in one head.
    pub(super) fn by_quads(&self) -> bool {
        self.heads.head_dim.is_multiple_of(GROUP)
    }

    /// Quads that a lane stores.
    pub(super) fn quads(&self, tile: &Tile) -> u32 {
        u32::from(tile.width()) * (tile.vectors() * self.heads.head_dim / QUAD).div_ceil(self.gpu.lanes)
    }
}

//! The plan: what a stub does with the kernels.
//!
//! Flat lists of dispatches, walked in order. A dispatch waits for all before it and sees what they wrote, unless it may run
//! *beside* them: then it waits for none since the last one that waited, and shares no byte with them or with that one that
//! either side writes. A binding names a region and a byte range of it; within one dispatch, a range that is written
//! overlaps no other range, unless both are the same.

pub mod hazard;
mod parse;
mod print;
pub mod program;
mod verify;
pub mod work;

use crate::arena::Arena;
use crate::define_id;
use crate::graph::{KvPart, WeightId};
use crate::kernel::KernelId;

pub use parse::parse_lowered;
pub use print::print_lowered;
pub use program::Program;
pub use verify::verify_plan;
pub use work::{Launched, Work, work};

define_id!(
    /// A packed weight: one section of `weights.bin`.
    PackedId, "p"
);
define_id!(
    /// A buffer of the arena, before and after the memory plan gave it an offset.
    ArenaId, "a"
);

/// Everything a stub needs besides kernels and weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Most tokens in one step of the `chunk` list.
    pub chunk: u32,
    /// Most tokens in the cache.
    pub ctx: u32,
    /// Rows of logits.
    pub vocab: u32,
    /// Most rows in one run of the head.
    pub head_rows: u32,
    /// Arena buffers with live ranges resolved to offsets.
    pub arena: Arena<ArenaId, ArenaBuffer>,
    /// Bytes of the whole arena.
    pub arena_bytes: u64,
    /// The KV slots' halves, in the order of the KV region.
    pub kv: Vec<KvBuffer>,
    /// Bytes of the KV region.
    pub kv_bytes: u64,
    /// Sections of `weights.bin`, in file order.
    pub packed: Arena<PackedId, Packed>,
    /// Bytes of `weights.bin`.
    pub weights_bytes: u64,
    /// Token ids of the step, `u32[chunk]`.
    pub tokens: ArenaId,
    /// Logits, `f32[head_rows, vocab]`.
    pub logits: ArenaId,
    /// Where the list `argmax` leaves its answer, `u32[1]`; with that list only.
    pub picked: Option<ArenaId>,
    /// Body for T = 1.
    pub decode: Vec<Dispatch>,
    /// Body for T in 2..=chunk.
    pub prefill: Vec<Dispatch>,
    /// Head for one row.
    pub head_one: Vec<Dispatch>,
    /// Head for 2..=head_rows rows.
    pub head_many: Vec<Dispatch>,
    /// After `head_one`: the id of the greatest logit of row 0, the lowest of several; empty where the host picks tokens.
    pub argmax: Vec<Dispatch>,
}

impl Plan {
    /// The lists with their names, in the order of the text form.
    pub fn lists(&self) -> [(&'static str, &[Dispatch]); 5] {
        [("decode", &self.decode), ("prefill", &self.prefill), ("head_one", &self.head_one), ("head_many", &self.head_many), ("argmax", &self.argmax)]
    }

    /// The same for writing.
    pub fn lists_mut(&mut self) -> [&mut Vec<Dispatch>; 5] {
        [&mut self.decode, &mut self.prefill, &mut self.head_one, &mut self.head_many, &mut self.argmax]
    }
}

/// A buffer of the arena.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArenaBuffer {
    /// For readers of dumps.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its place, a multiple of 64; 0 until the memory plan ran.
    pub offset: u64,
    /// Lives through whole steps and between body and head: shares its bytes with no other buffer.
    pub pinned: bool,
}

/// One half of a KV slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvBuffer {
    /// The slot.
    pub slot: u32,
    /// Keys or values.
    pub part: KvPart,
    /// Place in the KV region, a multiple of 64.
    pub offset: u64,
    /// Size.
    pub bytes: u64,
    /// Bytes that one position takes.
    pub bytes_per_position: u32,
    /// How it reuses places, where it holds fewer positions than the context.
    pub ring: Option<Ring>,
}

/// A cache half of a layer that looks back a window only: position p lies in place p mod `positions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    /// Places; at least `window + chunk − 1`, so that no token of a step overwrites what an earlier one of it still sees.
    pub positions: u32,
    /// Positions that a token sees, itself included.
    pub window: u32,
}

impl Ring {
    /// Whether a session that has written positions below `written` can go on from `position`: what the window before it holds
    /// is still there.
    pub fn keeps(&self, position: u32, written: u32) -> bool {
        let oldest = written.saturating_sub(self.positions);
        position == 0 || position.saturating_sub(self.window - 1) >= oldest
    }
}

/// One section of `weights.bin`.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    /// For readers; the first source's name.
    pub name: String,
    /// Where the numbers come from and how they are arranged.
    pub content: PackedContent,
    /// Place in the file, a multiple of the target's page or of 64.
    pub offset: u64,
    /// Size.
    pub bytes: u64,
}

/// What a packed section holds.
#[derive(Debug, Clone, PartialEq)]
pub enum PackedContent {
    /// Rows of one or more weights with the same K, interleaved for vector loads.
    Matrix {
        /// The arrangement.
        layout: MatrixLayout,
        /// Columns; those that the sources lack are zero.
        k: u32,
        /// Packed row r is row `rows[r].1` of weight `rows[r].0`; `None` is a row of zeros.
        rows: Vec<Option<(WeightId, u32)>>,
    },
    /// A 1-D weight as f32, zero-padded to `len`.
    Vector {
        /// The weight.
        weight: WeightId,
        /// Elements stored.
        len: u32,
        /// Added to each element of the weight, in f32: the 1 of a norm's unit offset.
        plus: f32,
    },
    /// Several 1-D weights as f32, gathered: element i is element `elems[i].1` of weight `elems[i].0`; `None` is 0.
    Gather {
        /// The elements.
        elems: Vec<Option<(WeightId, u32)>>,
        /// Added to each element of a weight, in f32.
        plus: f32,
    },
    /// `f32[ctx, 2, width]`: per position the cosine of each dim, then its sine with the sign that the dim's product with
    /// its partner has. Pair i lies in dims 2i (cos, −sin) and 2i + 1 (cos, sin); dims that are not rotated have (1, 0).
    Rope {
        /// The frequencies.
        attrs: crate::graph::RopeAttrs,
        /// Positions.
        ctx: u32,
        /// Dims, at least the rotary ones.
        width: u32,
    },
}

/// How a matrix lies in memory. Blocks of `lanes` rows follow each other; within one, groups along K follow each other.
///
/// A group of a quantized matrix is `lanes` rows × `group` columns: the value bytes of every 32 columns one after the other,
/// then `lanes` f16 scales. With s for `k_step`, value bytes come in vectors of `s · lanes` bytes, in which row r has bytes
/// `s·r..s·r + s`; with s = 8, sixteen bytes are two rows of eight columns:
/// - `q4`: 16/s vectors; byte c of a row in vector j holds column 2s·j + c in the low nibble, 2s·j + s + c in the high one, as n.
/// - `q6`: n + 32; 16/s vectors of low nibbles as for q4, then 8/s vectors of high bits: byte c of a row in vector h holds, in bits
///   2i and 2i+1, the top bits of column 4s·h + s·i + c (i in 0..4).
/// - `q8`: 32/s vectors; byte c of a row in vector j holds column s·j + c, as n + `q8_offset`.
///
/// An unquantized matrix has, per column, `lanes` elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatrixLayout {
    /// Element format.
    pub dtype: crate::graph::DType,
    /// Rows of a block.
    pub lanes: u16,
    /// Neighbouring columns of a row in a vector of value bytes: 4, what a lane of a dot product takes, or 8, a row's in a matrix
    /// product. 4 for unquantized formats, which do not use it.
    pub k_step: u8,
    /// Added to each `q8` value so that it is unsigned (128) or not (0).
    pub q8_offset: u8,
}

impl MatrixLayout {
    /// Columns of a group (1 for unquantized formats).
    pub fn group(&self) -> u32 {
        self.dtype.group().unwrap_or(1)
    }
    /// Bytes of one group of one block.
    pub fn group_bytes(&self) -> u32 {
        use crate::graph::DType;
        let lanes = u32::from(self.lanes);
        match self.dtype {
            DType::F32 | DType::U32 => 4 * lanes,
            DType::F16 | DType::Bf16 => 2 * lanes,
            DType::Q4 { group } => lanes * u32::from(group) / 2 + 2 * lanes,
            DType::Q6 => lanes * 24 + 2 * lanes,
            DType::Q8 | DType::A8 => lanes * 32 + 2 * lanes,
        }
    }
    /// Bytes of one block of rows of `k` columns.
    pub fn block_bytes(&self, k: u32) -> u64 {
        u64::from(self.group_bytes()) * u64::from(k.div_ceil(self.group()))
    }
}

/// One launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// The kernel.
    pub kernel: KernelId,
    /// Its parameters, in order.
    pub bindings: Vec<Binding>,
    /// Tiles along each axis.
    pub grid: [Extent; 3],
    /// Whether it may run beside the dispatches before it, back to the last one that waits. False is always right.
    pub beside: bool,
}

/// What a parameter is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// A whole buffer of the arena.
    Arena(ArenaId),
    /// A whole packed section.
    Packed(PackedId),
    /// One half of a KV slot: index into [`Plan::kv`].
    Kv(u32),
}

/// Offset and bytes of what a binding names, in its region; `None` if the plan lacks it.
pub fn place_of(plan: &Plan, binding: Binding) -> Option<(u64, u64)> {
    match binding {
        Binding::Arena(id) => plan.arena.get(id).map(|b| (b.offset, b.bytes)),
        Binding::Packed(id) => plan.packed.get(id).map(|p| (p.offset, p.bytes)),
        Binding::Kv(index) => plan.kv.get(index as usize).map(|k| (k.offset, k.bytes)),
    }
}

/// Number of tiles along an axis: `ceil((a·T + b·P + c) / d)`, at most `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Factor of T.
    pub a: u32,
    /// Factor of P.
    pub b: u32,
    /// Addend.
    pub c: u32,
    /// Divisor, at least 1.
    pub d: u32,
    /// Upper bound.
    pub max: u32,
}

impl Extent {
    /// Always `n`.
    pub fn fixed(n: u32) -> Self {
        Self { a: 0, b: 0, c: n, d: 1, max: n }
    }
    /// `ceil(T / tile)`, at most `max`.
    pub fn tokens(tile: u32, max: u32) -> Self {
        Self { a: 1, b: 0, c: 0, d: tile, max }
    }
    /// The number of tiles for a step; a divisor of 0 counts as 1.
    pub fn tiles(&self, t: u32, p: u32) -> u32 {
        let n = u64::from(self.a) * u64::from(t) + u64::from(self.b) * u64::from(p) + u64::from(self.c);
        n.div_ceil(u64::from(self.d.max(1))).min(u64::from(self.max)) as u32
    }
}

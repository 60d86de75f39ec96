//! Packed matrices as GPU kernels read them: blocks of 32 rows, in which neighbouring lanes read neighbouring words.
//!
//! Quantized matrices are words: a *part*, 32 columns of a row, is four to eight words of codes, 32 words apart, and the row's
//! half of a word of scales. f32 matrices are numbers. f16 and bf16 ones are pairs: the numbers of two neighbouring rows in a
//! column, so a lane that reads whole words has two rows.

use slmc_ir::graph::DType;
use slmc_ir::kernel::{Access, BinaryOp, BufId, CmpOp, KernelBuilder, Scalar, Type, ValueId};
use slmc_ir::plan::MatrixLayout;

use super::activation::{ALIGN, F32};
use super::heads::BLOCK;
use super::schedule::PART;
use crate::lower::codes::code_offset;

/// A packed matrix, a parameter of a kernel.
#[derive(Debug, Clone, Copy)]
pub struct Matrix {
    /// How it lies in memory.
    pub layout: MatrixLayout,
    /// Columns as packed: a multiple of 32.
    pub k: u32,
    buf: BufId,
}

/// Words of a part of a row, loaded.
#[derive(Debug, Clone)]
pub struct Part {
    words: Vec<ValueId>,
    scale: ValueId,
}

impl Matrix {
    /// Declares the parameter.
    pub fn declare(b: &mut KernelBuilder, name: &str, layout: MatrixLayout, k: u32, blocks: u32) -> Self {
        let elem = elem(layout.dtype);
        let len = u64::from(blocks) * layout.block_bytes(k) / u64::from(elem.bytes());
        Self { layout, k, buf: b.param(name, elem, len as u32, Access::Read, ALIGN) }
    }

    /// Rows that a lane has: 2 where elements are pairs.
    pub fn rows_per_lane(&self) -> u32 {
        rows_per_lane(self.layout.dtype)
    }

    /// Index of the first element of a block.
    pub fn block_start(&self, b: &mut KernelBuilder, block: ValueId) -> ValueId {
        let elems = self.layout.block_bytes(self.k) / u64::from(elem(self.layout.dtype).bytes());
        b.mul(block, elems as u32)
    }

    /// Loads a part of a row of a block of a quantized matrix.
    pub fn load_part(&self, b: &mut KernelBuilder, block_start: ValueId, part: ValueId, row: ValueId) -> Part {
        let words = part_words(self.layout.dtype);
        let at = self.part_start(b, block_start, part);
        let first = b.add(at, row);
        let words = (0..words)
            .map(|j| {
                let at = b.add(first, j * BLOCK);
                b.load(Type::INDEX, self.buf, at)
            })
            .collect();
        let scale = self.load_scale(b, block_start, part, row);
        Part { words, scale }
    }

    /// Loads word `j` of a part of a row.
    pub fn load_word(&self, b: &mut KernelBuilder, block_start: ValueId, part: ValueId, j: ValueId, row: ValueId) -> ValueId {
        let at = self.part_start(b, block_start, part);
        let word = b.mul(j, BLOCK);
        let at = b.add(at, word);
        let at = b.add(at, row);
        b.load(Type::INDEX, self.buf, at)
    }

    /// Loads the word that holds the scale of a row for a part.
    pub fn load_scale(&self, b: &mut KernelBuilder, block_start: ValueId, part: ValueId, row: ValueId) -> ValueId {
        let per = self.parts_per_group();
        let group = b.div(part, per);
        let at = b.mul(group, self.group_words());
        let at = b.add(at, per * part_words(self.layout.dtype) * BLOCK);
        let at = b.add(block_start, at);
        let pair = b.div(row, 2u32);
        let at = b.add(at, pair);
        b.load(Type::INDEX, self.buf, at)
    }

    /// Loads element `column · row lanes + lane` of a block of an unquantized matrix: one row's number, or two rows' as f32x2.
    pub fn load_numbers(&self, b: &mut KernelBuilder, block_start: ValueId, column: ValueId, row_lane: ValueId) -> ValueId {
        let at = b.mul(column, BLOCK / self.rows_per_lane());
        let at = b.add(at, row_lane);
        let at = b.add(block_start, at);
        let v = b.load(elem(self.layout.dtype), self.buf, at);
        match self.layout.dtype {
            DType::F16 => b.convert(v, Scalar::F32),
            DType::Bf16 => {
                let low = b.binary(BinaryOp::Shl, v, 16u32);
                let high = b.binary(BinaryOp::And, v, 0xffff_0000u32);
                let pair = b.shuffle(low, high, vec![0, 1]);
                b.bitcast(pair, Type::vector(Scalar::F32, 2))
            }
            _ => v,
        }
    }

    fn parts_per_group(&self) -> u32 {
        self.layout.group() / PART
    }

    fn group_words(&self) -> u32 {
        self.layout.group_bytes() / 4
    }

    /// Index of the first word of codes of a part.
    fn part_start(&self, b: &mut KernelBuilder, block_start: ValueId, part: ValueId) -> ValueId {
        let per = self.parts_per_group();
        let group = b.div(part, per);
        let at = b.mul(group, self.group_words());
        let within = b.binary(BinaryOp::Rem, part, per);
        let within = b.mul(within, part_words(self.layout.dtype) * BLOCK);
        let at = b.add(at, within);
        b.add(block_start, at)
    }
}

impl Part {
    /// Codes of columns `4m..4m+4` as stored, four bytes of a word.
    pub fn codes(&self, b: &mut KernelBuilder, dtype: DType, m: u32) -> ValueId {
        let nibbles = |b: &mut KernelBuilder| nibbles(b, self.words[(m / 2) as usize], m % 2 == 1);
        match dtype {
            DType::Q4 { .. } => nibbles(b),
            DType::Q6 => {
                let low = nibbles(b);
                let high = self.words[(4 + m / 4) as usize];
                let high = if m.is_multiple_of(4) { high } else { b.binary(BinaryOp::Shr, high, 2 * (m % 4)) };
                top_bits(b, low, high)
            }
            _ => self.words[m as usize],
        }
    }

    /// The scale of the row, f32.
    pub fn scale(&self, b: &mut KernelBuilder, row: ValueId) -> ValueId {
        scale_of(b, self.scale, row)
    }
}

/// Element type of a matrix parameter.
fn elem(dtype: DType) -> Type {
    match dtype {
        DType::F32 => F32,
        DType::F16 => Type::vector(Scalar::F16, 2),
        DType::Bf16 | DType::Q4 { .. } | DType::Q6 | DType::Q8 | DType::A8 | DType::U32 => Type::INDEX,
    }
}

/// Rows of which a lane reads numbers at once.
pub fn rows_per_lane(dtype: DType) -> u32 {
    if matches!(dtype, DType::F16 | DType::Bf16) { 2 } else { 1 }
}

/// Words of codes of a part of a row; for unquantized formats, elements.
pub fn part_words(dtype: DType) -> u32 {
    match dtype {
        DType::Q4 { .. } => 4,
        DType::Q6 => 6,
        DType::Q8 | DType::A8 => 8,
        DType::F16 | DType::Bf16 => 16,
        DType::F32 | DType::U32 => 32,
    }
}

/// The low or high nibbles of four bytes.
pub fn nibbles(b: &mut KernelBuilder, word: ValueId, high: bool) -> ValueId {
    let word = if high { b.binary(BinaryOp::Shr, word, 4u32) } else { word };
    b.binary(BinaryOp::And, word, 0x0f0f_0f0fu32)
}

/// Four nibbles with bits 0 and 1 of each byte of `high` above them.
pub fn top_bits(b: &mut KernelBuilder, low: ValueId, high: ValueId) -> ValueId {
    let two = b.binary(BinaryOp::And, high, 0x0303_0303u32);
    let two = b.binary(BinaryOp::Shl, two, 4u32);
    b.binary(BinaryOp::Or, low, two)
}

/// Four stored codes as f32x4, the offset still in them.
pub fn codes_to_f32(b: &mut KernelBuilder, layout: &MatrixLayout, codes: ValueId) -> ValueId {
    let bytes = b.bitcast(codes, code_bytes(layout));
    b.convert(bytes, Scalar::F32)
}

/// The type of four stored codes: unsigned where an offset makes them so.
pub fn code_bytes(layout: &MatrixLayout) -> Type {
    Type::vector(if code_offset(layout) == 0 { Scalar::I8 } else { Scalar::U8 }, 4)
}

/// The half of a word of scales that is the row's, f32.
pub fn scale_of(b: &mut KernelBuilder, word: ValueId, row: ValueId) -> ValueId {
    let pair = b.bitcast(word, Type::vector(Scalar::F16, 2));
    let pair = b.convert(pair, Scalar::F32);
    let (even, odd) = (b.extract(pair, 0), b.extract(pair, 1));
    let parity = b.binary(BinaryOp::Rem, row, 2u32);
    let is_odd = b.cmp(CmpOp::Eq, parity, 1u32);
    b.select(is_odd, odd, even)
}

//! Value bytes of a quantized block of rows, unpacked to one byte a column.

use slmc_ir::graph::DType;
use slmc_ir::kernel::{BinaryOp, BufId, KernelBuilder, Scalar, Type, ValueId};
use slmc_ir::plan::MatrixLayout;

/// Unpacks 32 columns of some neighbouring rows of a block; each vector is loaded once.
#[derive(Debug)]
pub struct Unpack {
    layout: MatrixLayout,
    weights: BufId,
    base: ValueId,
    /// Added to `base`: where the bytes of the first row begin.
    offset: u32,
    rows: u16,
    low: [Option<ValueId>; 4],
    high: [Option<ValueId>; 2],
}

impl Unpack {
    /// Rows `first..first + rows` of the block whose value bytes of these columns begin at `base + offset`.
    pub fn new(layout: MatrixLayout, weights: BufId, base: ValueId, offset: u32, first: u16, rows: u16) -> Self {
        let offset = offset + u32::from(layout.k_step) * u32::from(first);
        Self { layout, weights, base, offset, rows, low: [None; 4], high: [None; 2] }
    }

    /// One row, whose value bytes of these columns begin at `base`.
    pub fn one_row(layout: MatrixLayout, weights: BufId, base: ValueId) -> Self {
        Self::new(layout, weights, base, 0, 0, 1)
    }

    /// Columns `s·m..s·m + s` of every row, s being the layout's `k_step`: row r in bytes `s·r..s·r + s`.
    pub fn columns(&mut self, b: &mut KernelBuilder, m: u32) -> ValueId {
        match self.layout.dtype {
            DType::Q8 | DType::A8 => self.vector(b, m),
            DType::Q4 { .. } => self.nibbles(b, m),
            DType::Q6 => {
                let low = self.nibbles(b, m);
                let h = m / 4;
                let high = match self.high[h as usize] {
                    Some(v) => v,
                    None => self.vector(b, 16 / u32::from(self.layout.k_step) + h),
                };
                self.high[h as usize] = Some(high);
                let two = two_bits(b, high, m % 4);
                b.binary(BinaryOp::Or, low, two)
            }
            DType::F32 | DType::F16 | DType::Bf16 | DType::U32 => unreachable!("invariant: only quantized formats are unpacked"),
        }
    }

    fn vector(&self, b: &mut KernelBuilder, index: u32) -> ValueId {
        let step = u32::from(self.layout.k_step);
        let scalar = if self.layout.dtype == DType::Q8 && self.layout.q8_offset == 0 { Scalar::I8 } else { Scalar::U8 };
        let at = b.add(self.base, self.offset + index * step * u32::from(self.layout.lanes));
        b.load(Type::vector(scalar, u16::from(self.layout.k_step) * self.rows), self.weights, at)
    }

    fn nibbles(&mut self, b: &mut KernelBuilder, m: u32) -> ValueId {
        let j = (m / 2) as usize;
        let v = match self.low[j] {
            Some(v) => v,
            None => self.vector(b, m / 2),
        };
        self.low[j] = Some(v);
        if m.is_multiple_of(2) { b.binary(BinaryOp::And, v, 15i32) } else { b.binary(BinaryOp::Shr, v, 4i32) }
    }
}

/// Bits 2i and 2i+1 of each byte, as bits 4 and 5.
fn two_bits(b: &mut KernelBuilder, bytes: ValueId, i: u32) -> ValueId {
    let masked = b.binary(BinaryOp::And, bytes, 3i32 << (2 * i));
    match i {
        0 => b.binary(BinaryOp::Shl, masked, 4i32),
        1 => b.binary(BinaryOp::Shl, masked, 2i32),
        2 => masked,
        _ => b.binary(BinaryOp::Shr, masked, 2i32),
    }
}

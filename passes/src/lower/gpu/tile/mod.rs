//! Workgroup memory of the matrix kernels: tiles of 32 columns of weights and of activations, how lanes bring them in and how
//! they read them.
//!
//! Tiles hold numbers, f32x4 of four columns; or, of quantized operands, codes: f16x8 of eight where the device has halves, i8x16
//! of sixteen where it multiplies those. Numbers of quantized operands are their codes, which are small integers: halves hold
//! them exactly, for half the reads of f32. Products of codes are beyond halves, so they and their sums are f32. Scales stand
//! beside the tiles and are applied to sums of 32 columns. Rows of weights lie in four planes by their place in a quad, so that
//! neighbouring lanes, which have neighbouring quads, read neighbouring rows; rows and planes are padded for the banks.
//!
//! What a lane brings in for the next tile waits in variables while it computes on this one.
//!
//! Places within runs of a power of two are bit operations: a remainder stays tied to its quotient, behind which the range
//! verifier does not see that both have an end.

mod acts;
mod weights;

use slmc_ir::kernel::{KernelBuilder, Scalar, Type, ValueId, VarId};
use slmc_ir::target::Gpu;

use super::activation::{F32X4, I8X4, I8X16};
use super::heads::BLOCK;
use super::reduce::vector_of;
use super::schedule::PART;

pub use acts::ActTile;
pub use weights::WeightTile;

/// Rows of a tile of weights: two blocks.
pub const ROWS: u32 = 2 * BLOCK;
/// Rows of a plane, padded.
const PLANE: u32 = ROWS / 4 + 1;

/// What tiles hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// f32x4: four columns.
    F32,
    /// f16x8: eight columns of codes. They are moved as words and unpacked to f32 where they are multiplied.
    F16,
    /// i8x16: sixteen columns of signed codes.
    I8,
}

impl Numbers {
    /// The narrowest that a device multiplies, or unpacks. Activations that are not quantized are f32, so their tiles are too.
    pub fn of(quantized: bool, gpu: &Gpu) -> Self {
        match (quantized, gpu.int_dot, gpu.f16) {
            (true, true, _) => Numbers::I8,
            (true, false, true) => Numbers::F16,
            (true, false, false) | (false, ..) => Numbers::F32,
        }
    }

    /// Type of an element.
    pub fn elem(self) -> Type {
        match self {
            Numbers::F32 => F32X4,
            Numbers::F16 => Type::vector(Scalar::F16, 8),
            Numbers::I8 => I8X16,
        }
    }

    /// Elements of 32 columns.
    pub fn elems(self) -> u32 {
        PART / u32::from(self.elem().lanes)
    }

    /// Elements from a row of weights to the next, padded: odd.
    fn stride(self) -> u32 {
        self.elems() + 1
    }

    /// The columns of an element as numbers, f32x4 each.
    pub fn unpack(self, b: &mut KernelBuilder, elem: ValueId) -> Vec<ValueId> {
        match self {
            Numbers::F32 => vec![elem],
            Numbers::F16 => {
                let words = b.bitcast(elem, WORDS);
                (0..2)
                    .map(|i| {
                        let pair = b.shuffle(words, words, vec![2 * i, 2 * i + 1]);
                        let halves = b.bitcast(pair, Type::vector(Scalar::F16, 4));
                        b.convert(halves, Scalar::F32)
                    })
                    .collect()
            }
            Numbers::I8 => bytes_of(b, elem).into_iter().map(|quad| b.convert(quad, Scalar::F32)).collect(),
        }
    }

    /// Elements that hold columns given as numbers, f32x4 each: codes, for all but [`Numbers::F32`].
    fn pack(self, b: &mut KernelBuilder, columns: &[ValueId]) -> Vec<ValueId> {
        let narrow = |b: &mut KernelBuilder, quad: ValueId| match self {
            Numbers::F32 => quad,
            Numbers::F16 => {
                let halves = b.convert(quad, Scalar::F16);
                b.bitcast(halves, Type::vector(Scalar::U32, 2))
            }
            Numbers::I8 => {
                let codes = b.convert(quad, Scalar::I8);
                b.bitcast(codes, Type::INDEX)
            }
        };
        let quads = usize::from(self.elem().lanes) / 4;
        columns
            .chunks(quads)
            .map(|columns| {
                let parts: Vec<ValueId> = columns.iter().map(|&quad| narrow(b, quad)).collect();
                let value = vector_of(b, &parts);
                if b.ty(value) == self.elem() { value } else { b.bitcast(value, self.elem()) }
            })
            .collect()
    }
}

/// Sixteen bytes as words.
const WORDS: Type = Type::vector(Scalar::U32, 4);

/// Bytes of workgroup memory that both tiles take.
pub fn shared_bytes(numbers: Numbers, quantized: bool, tokens: u32) -> u32 {
    let elems = 4 * PLANE * numbers.stride() + tokens * numbers.elems();
    elems * numbers.elem().bytes() + if quantized { 4 * (ROWS + tokens) } else { 0 }
}

/// Sixteen codes as four times four, i8x4.
pub fn bytes_of(b: &mut KernelBuilder, codes: ValueId) -> Vec<ValueId> {
    let words = b.bitcast(codes, WORDS);
    (0..4)
        .map(|i| {
            let word = b.extract(words, i);
            b.bitcast(word, I8X4)
        })
        .collect()
}

/// A variable of zeros.
fn zero_var(b: &mut KernelBuilder, ty: Type) -> VarId {
    if ty.scalar.is_float() { b.var(ty, 0.0f32) } else { b.var(ty, 0i32) }
}

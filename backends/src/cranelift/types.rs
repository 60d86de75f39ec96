//! Kernel IR types and constants in Cranelift's terms.
//!
//! Every vector is held in 128 bits, lane 0 lowest; 16-bit floats are `i16` that only moves touch. A vector of `bool` is a mask
//! whose lanes are all ones or all zeros: as wide as 128 bits allow, but not wider than 32.

use super::Fault;
use cranelift_codegen::ir::Type as Clif;
use cranelift_codegen::ir::types::{F32, F32X4, I8, I8X16, I16, I16X8, I32, I32X4, I64};
use half::{bf16, f16};
use slmc_ir::kernel::{Imm, Scalar, Type};

/// The type of addresses.
pub(super) const POINTER: Clif = I64;
/// Bytes of a vector register.
pub(super) const REGISTER: u32 = 16;

/// Whether a register holds a type.
pub(super) fn fits(t: Type) -> bool {
    let bytes = if t.scalar == Scalar::Bool { 1 } else { t.scalar.bytes() };
    bytes * u32::from(t.lanes) <= REGISTER
}

/// Bits of a lane of a value as it is held.
pub(super) fn lane_bits(t: Type) -> u32 {
    match t.scalar {
        Scalar::F32 | Scalar::I32 | Scalar::U32 => 32,
        Scalar::F16 | Scalar::Bf16 | Scalar::I16 => 16,
        Scalar::I8 | Scalar::U8 => 8,
        Scalar::Bool if t.lanes == 1 => 8,
        Scalar::Bool => (128 / u32::from(t.lanes)).min(32),
    }
}

/// How a type is held.
pub(super) fn form(t: Type) -> Clif {
    match (t.scalar, t.lanes == 1, lane_bits(t)) {
        (Scalar::F32, true, _) => F32,
        (Scalar::F32, false, _) => F32X4,
        (_, single, bits) => ints(bits, single),
    }
}

/// An integer of some bits, or the vector register of them.
pub(super) fn ints(bits: u32, single: bool) -> Clif {
    match (bits, single) {
        (8, true) => I8,
        (8, false) => I8X16,
        (16, true) => I16,
        (16, false) => I16X8,
        (_, true) => I32,
        (_, false) => I32X4,
    }
}

/// The bits of a lane that holds an immediate.
pub(super) fn lane(t: Type, imm: Imm) -> Result<u32, Fault> {
    match (t.scalar, imm) {
        (Scalar::F32, Imm::Float(v)) => Ok(v.to_bits()),
        (Scalar::F16, Imm::Float(v)) => Ok(u32::from(f16::from_f32(v).to_bits())),
        (Scalar::Bf16, Imm::Float(v)) => Ok(u32::from(bf16::from_f32(v).to_bits())),
        (Scalar::Bool, Imm::Int(v)) if t.lanes > 1 => Ok(if v == 0 { 0 } else { u32::MAX }),
        (s, Imm::Int(v)) if !s.is_float() => Ok(v as u32),
        (s, imm) => Err(Fault(format!("an immediate {imm:?} in a place of type {s}"))),
    }
}

/// A register full of lanes of some bits.
pub(super) fn filled(lane: u32, bits: u32) -> Vec<u8> {
    let bytes = (bits / 8).min(4) as usize;
    lane.to_le_bytes()[..bytes].repeat(REGISTER as usize / bytes)
}

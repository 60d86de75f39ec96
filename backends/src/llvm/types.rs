//! Kernel IR types and constants in LLVM's terms.
//!
//! `bf16` is an `i16` that only moves, shuffles and converts touch: LLVM's own type would call library functions.

use super::Fault;
use half::bf16;
use inkwell::context::Context;
use inkwell::types::{BasicType, BasicTypeEnum, FloatType, IntType, VectorType};
use inkwell::values::{BasicValue, BasicValueEnum, VectorValue};
use slmc_ir::kernel::{Imm, Scalar, Type};

/// The LLVM type of one lane.
pub(super) fn scalar<'ctx>(cx: &'ctx Context, scalar: Scalar) -> BasicTypeEnum<'ctx> {
    match scalar {
        Scalar::F32 => cx.f32_type().into(),
        Scalar::F16 => cx.f16_type().into(),
        Scalar::Bf16 | Scalar::I16 => cx.i16_type().into(),
        Scalar::I8 | Scalar::U8 => cx.i8_type().into(),
        Scalar::I32 | Scalar::U32 => cx.i32_type().into(),
        Scalar::Bool => cx.bool_type().into(),
    }
}

/// The LLVM type of a type.
pub(super) fn ty<'ctx>(cx: &'ctx Context, t: Type) -> BasicTypeEnum<'ctx> {
    let lane = scalar(cx, t.scalar);
    if t.lanes == 1 { lane } else { vector(lane, t.lanes).into() }
}

/// A vector of lanes of an integer or float type.
pub(super) fn vector(lane: BasicTypeEnum<'_>, lanes: u16) -> VectorType<'_> {
    match lane {
        BasicTypeEnum::FloatType(f) => f.vec_type(u32::from(lanes)),
        other => other.into_int_type().vec_type(u32::from(lanes)),
    }
}

/// The integer type of a lane count: scalar or vector.
pub(super) fn ints<'ctx>(int: IntType<'ctx>, lanes: u16) -> BasicTypeEnum<'ctx> {
    if lanes == 1 { int.into() } else { int.vec_type(u32::from(lanes)).into() }
}

/// The float type of a lane count: scalar or vector.
pub(super) fn floats<'ctx>(float: FloatType<'ctx>, lanes: u16) -> BasicTypeEnum<'ctx> {
    if lanes == 1 { float.into() } else { float.vec_type(u32::from(lanes)).into() }
}

/// A constant of a type, the same in all lanes.
pub(super) fn constant<'ctx>(cx: &'ctx Context, t: Type, imm: Imm) -> Result<BasicValueEnum<'ctx>, Fault> {
    let lane: BasicValueEnum<'ctx> = match (t.scalar, imm) {
        (Scalar::F32, Imm::Float(v)) => cx.f32_type().const_float(f64::from(v)).into(),
        (Scalar::F16, Imm::Float(v)) => cx.f16_type().const_float(f64::from(v)).into(),
        (Scalar::Bf16, Imm::Float(v)) => cx.i16_type().const_int(u64::from(bf16::from_f32(v).to_bits()), false).into(),
        (s, Imm::Int(v)) if !s.is_float() => scalar(cx, s).into_int_type().const_int(v as u64, true).into(),
        (s, imm) => return Err(Fault(format!("an immediate {imm:?} in a place of type {s}"))),
    };
    Ok(if t.lanes == 1 { lane } else { splat_const(lane, t.lanes).into() })
}

/// A constant lane repeated.
pub(super) fn splat_const<'ctx>(lane: BasicValueEnum<'ctx>, lanes: u16) -> VectorValue<'ctx> {
    let n = usize::from(lanes);
    match lane {
        BasicValueEnum::FloatValue(v) => VectorType::const_vector(&vec![v; n]),
        other => VectorType::const_vector(&vec![other.into_int_value(); n]),
    }
}

/// A mask for `shufflevector`.
pub(super) fn mask<'ctx>(cx: &'ctx Context, lanes: impl IntoIterator<Item = u32>) -> VectorValue<'ctx> {
    let lanes: Vec<_> = lanes.into_iter().map(|l| cx.i32_type().const_int(u64::from(l), false)).collect();
    VectorType::const_vector(&lanes)
}

/// A vector of undefined lanes like `v`.
pub(super) fn poison<'ctx>(v: VectorValue<'ctx>) -> VectorValue<'ctx> {
    v.get_type().get_poison()
}

/// Zero of an LLVM type.
pub(super) fn zero<'ctx>(t: BasicTypeEnum<'ctx>) -> BasicValueEnum<'ctx> {
    t.as_basic_type_enum().const_zero().as_basic_value_enum()
}

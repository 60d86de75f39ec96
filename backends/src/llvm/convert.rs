//! Numeric conversions.
//!
//! `f16` goes through `f32` (F16C has no other conversion); `bf16` is the upper half of a `f32`, rounded by integer
//! arithmetic.

use super::func::{Func, on_ints};
use super::{Fault, types};
use inkwell::types::BasicTypeEnum;
use inkwell::values::BasicValueEnum;
use inkwell::{FloatPredicate, IntPredicate};
use slmc_ir::kernel::{Scalar, Type};

type Value<'ctx> = BasicValueEnum<'ctx>;

/// `v`, of type `from`, as lanes of `to`.
pub(super) fn convert<'ctx>(f: &Func<'_, 'ctx>, v: Value<'ctx>, from: Type, to: Scalar) -> Result<Value<'ctx>, Fault> {
    let lanes = from.lanes;
    let f32s = types::floats(f.cx.f32_type(), lanes);
    match (from.scalar, to) {
        (a, b) if a == b => Ok(v),
        (Scalar::Bf16, _) => {
            let wide = on_ints_to(f, v, Extend::Zero, types::ints(f.cx.i32_type(), lanes))?;
            let wide = on_ints!(f.b, build_left_shift(wide, number(f, lanes, 16)));
            convert(f, f.bits(wide, f32s)?, from.with_scalar(Scalar::F32), to)
        }
        (Scalar::F16, _) => {
            let wide = if v.is_vector_value() {
                f.b.build_float_ext(v.into_vector_value(), f32s.into_vector_type(), "")?.into()
            } else {
                f.b.build_float_ext(v.into_float_value(), f32s.into_float_type(), "")?.into()
            };
            convert(f, wide, from.with_scalar(Scalar::F32), to)
        }
        (Scalar::F32, Scalar::Bf16) => to_bf16(f, v, lanes),
        (Scalar::F32, Scalar::F16) => {
            let f16s = types::floats(f.cx.f16_type(), lanes);
            Ok(if v.is_vector_value() {
                f.b.build_float_trunc(v.into_vector_value(), f16s.into_vector_type(), "")?.into()
            } else {
                f.b.build_float_trunc(v.into_float_value(), f16s.into_float_type(), "")?.into()
            })
        }
        (Scalar::F32, Scalar::Bool) => compare_floats(f, FloatPredicate::UNE, v, types::zero(f32s)),
        (Scalar::F32, _) => to_int(f, v, from, to),
        (_, Scalar::F32) => from_int(f, v, from.scalar.is_signed(), f32s),
        (_, Scalar::F16 | Scalar::Bf16) => {
            let single = from_int(f, v, from.scalar.is_signed(), f32s)?;
            convert(f, single, from.with_scalar(Scalar::F32), to)
        }
        (_, Scalar::Bool) => compare_ints(f, IntPredicate::NE, v, types::zero(v.get_type())),
        (a, b) => {
            let want = types::ty(f.cx, from.with_scalar(b));
            let how = if a == Scalar::Bool || a.bytes() < b.bytes() {
                if a.is_signed() { Extend::Sign } else { Extend::Zero }
            } else if a.bytes() > b.bytes() {
                Extend::Truncate
            } else {
                return Ok(v);
            };
            on_ints_to(f, v, how, want)
        }
    }
}

enum Extend {
    Zero,
    Sign,
    Truncate,
}

fn on_ints_to<'ctx>(f: &Func<'_, 'ctx>, v: Value<'ctx>, how: Extend, to: BasicTypeEnum<'ctx>) -> Result<Value<'ctx>, Fault> {
    if v.is_vector_value() {
        let (v, to) = (v.into_vector_value(), to.into_vector_type());
        Ok(match how {
            Extend::Zero => f.b.build_int_z_extend(v, to, "")?.into(),
            Extend::Sign => f.b.build_int_s_extend(v, to, "")?.into(),
            Extend::Truncate => f.b.build_int_truncate(v, to, "")?.into(),
        })
    } else {
        let (v, to) = (v.into_int_value(), to.into_int_type());
        Ok(match how {
            Extend::Zero => f.b.build_int_z_extend(v, to, "")?.into(),
            Extend::Sign => f.b.build_int_s_extend(v, to, "")?.into(),
            Extend::Truncate => f.b.build_int_truncate(v, to, "")?.into(),
        })
    }
}

fn number<'ctx>(f: &Func<'_, 'ctx>, lanes: u16, n: u64) -> Value<'ctx> {
    let one = f.cx.i32_type().const_int(n, false).into();
    if lanes == 1 { one } else { types::splat_const(one, lanes).into() }
}

fn from_int<'ctx>(f: &Func<'_, 'ctx>, v: Value<'ctx>, signed: bool, to: BasicTypeEnum<'ctx>) -> Result<Value<'ctx>, Fault> {
    Ok(match (v.is_vector_value(), signed) {
        (true, true) => f.b.build_signed_int_to_float(v.into_vector_value(), to.into_vector_type(), "")?.into(),
        (true, false) => f.b.build_unsigned_int_to_float(v.into_vector_value(), to.into_vector_type(), "")?.into(),
        (false, true) => f.b.build_signed_int_to_float(v.into_int_value(), to.into_float_type(), "")?.into(),
        (false, false) => f.b.build_unsigned_int_to_float(v.into_int_value(), to.into_float_type(), "")?.into(),
    })
}

/// f32 to an integer. Narrow ones go through i32, which vectors convert to directly.
fn to_int<'ctx>(f: &Func<'_, 'ctx>, v: Value<'ctx>, from: Type, to: Scalar) -> Result<Value<'ctx>, Fault> {
    if to.bytes() < 4 {
        let wide = to_int(f, v, from, Scalar::I32)?;
        return on_ints_to(f, wide, Extend::Truncate, types::ty(f.cx, from.with_scalar(to)));
    }
    let want = types::ints(f.cx.i32_type(), from.lanes);
    Ok(match (v.is_vector_value(), to.is_signed()) {
        (true, true) => f.b.build_float_to_signed_int(v.into_vector_value(), want.into_vector_type(), "")?.into(),
        (true, false) => f.b.build_float_to_unsigned_int(v.into_vector_value(), want.into_vector_type(), "")?.into(),
        (false, true) => f.b.build_float_to_signed_int(v.into_float_value(), want.into_int_type(), "")?.into(),
        (false, false) => f.b.build_float_to_unsigned_int(v.into_float_value(), want.into_int_type(), "")?.into(),
    })
}

/// Rounds to nearest even in the bits; a NaN stays one.
fn to_bf16<'ctx>(f: &Func<'_, 'ctx>, v: Value<'ctx>, lanes: u16) -> Result<Value<'ctx>, Fault> {
    let bits = f.bits(v, types::ints(f.cx.i32_type(), lanes))?;
    let half = |x: Value<'ctx>| -> Result<Value<'ctx>, Fault> { shift_right(f, x, number(f, lanes, 16), false) };
    let odd = on_ints!(f.b, build_and(half(bits)?, number(f, lanes, 1)));
    let up = on_ints!(f.b, build_int_add(odd, number(f, lanes, 0x7fff)));
    let rounded = half(on_ints!(f.b, build_int_add(bits, up)))?;
    let quiet = on_ints!(f.b, build_or(half(bits)?, number(f, lanes, 0x40)));
    let nan = compare_floats(f, FloatPredicate::UNO, v, v)?;
    let out = select(f, nan, quiet, rounded)?;
    on_ints_to(f, out, Extend::Truncate, types::ints(f.cx.i16_type(), lanes))
}

/// Shifts right, filling with the sign or with zeros.
pub(super) fn shift_right<'ctx>(f: &Func<'_, 'ctx>, x: Value<'ctx>, by: Value<'ctx>, signed: bool) -> Result<Value<'ctx>, Fault> {
    Ok(if x.is_vector_value() {
        f.b.build_right_shift(x.into_vector_value(), by.into_vector_value(), signed, "")?.into()
    } else {
        f.b.build_right_shift(x.into_int_value(), by.into_int_value(), signed, "")?.into()
    })
}

/// Compares floats lane by lane.
pub(super) fn compare_floats<'ctx>(f: &Func<'_, 'ctx>, p: FloatPredicate, a: Value<'ctx>, b: Value<'ctx>) -> Result<Value<'ctx>, Fault> {
    Ok(if a.is_vector_value() {
        f.b.build_float_compare(p, a.into_vector_value(), b.into_vector_value(), "")?.into()
    } else {
        f.b.build_float_compare(p, a.into_float_value(), b.into_float_value(), "")?.into()
    })
}

/// Compares integers lane by lane.
pub(super) fn compare_ints<'ctx>(f: &Func<'_, 'ctx>, p: IntPredicate, a: Value<'ctx>, b: Value<'ctx>) -> Result<Value<'ctx>, Fault> {
    Ok(if a.is_vector_value() {
        f.b.build_int_compare(p, a.into_vector_value(), b.into_vector_value(), "")?.into()
    } else {
        f.b.build_int_compare(p, a.into_int_value(), b.into_int_value(), "")?.into()
    })
}

/// `a` where `cond`, else `b`; one scalar `cond` chooses for all lanes.
pub(super) fn select<'ctx>(f: &Func<'_, 'ctx>, cond: Value<'ctx>, a: Value<'ctx>, b: Value<'ctx>) -> Result<Value<'ctx>, Fault> {
    Ok(if cond.is_vector_value() {
        f.b.build_select(cond.into_vector_value(), a, b, "")?
    } else {
        f.b.build_select(cond.into_int_value(), a, b, "")?
    })
}

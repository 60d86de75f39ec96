//! Numeric conversions and selections.
//!
//! Vectors change their lane's width by widening the low half of a register, and by picking bytes to narrow.

use super::func::Func;
use super::types::{form, ints, lane_bits};
use super::{Fault, vector};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F32X4, I32, I32X4};
use cranelift_codegen::ir::{InstBuilder as _, Value};
use slmc_ir::kernel::{Imm, Scalar, Type};

/// `v`, of type `from`, as lanes of `to`.
pub(super) fn convert(f: &mut Func<'_>, v: Value, from: Type, to: Scalar) -> Result<Value, Fault> {
    let target = from.with_scalar(to);
    let half = |s: Scalar| matches!(s, Scalar::F16 | Scalar::Bf16);
    if from.scalar == to {
        return Ok(v);
    }
    if half(from.scalar) || half(to) {
        return Err(Fault(format!("the conversion of {from} to {target} is expanded before")));
    }
    Ok(match (from.scalar, to) {
        (Scalar::F32, Scalar::Bool) => {
            let zero = f.constant(from, Imm::Float(0.0))?;
            f.b.ins().fcmp(FloatCC::NotEqual, v, zero)
        }
        (_, Scalar::Bool) => {
            let zero = f.constant(from, Imm::Int(0))?;
            let mask = f.b.ins().icmp(IntCC::NotEqual, v, zero);
            if from.is_vector() { vector::widened(f, mask, lane_bits(from), lane_bits(target), true) } else { mask }
        }
        (Scalar::F32, _) => to_int(f, v, from, to),
        (_, Scalar::F32) => from_int(f, v, from),
        _ => resized(f, v, from, target),
    })
}

/// f32 to an integer. Narrow ones go through i32.
fn to_int(f: &mut Func<'_>, v: Value, from: Type, to: Scalar) -> Value {
    let unsigned = to == Scalar::U32;
    let wide = match (from.is_vector(), unsigned) {
        // Without the saturation that the IR does not ask for.
        (true, false) if f.x86 => f.b.ins().x86_cvtt2dq(I32X4, v),
        (true, false) => f.b.ins().fcvt_to_sint_sat(I32X4, v),
        (true, true) => f.b.ins().fcvt_to_uint_sat(I32X4, v),
        (false, false) => f.b.ins().fcvt_to_sint_sat(I32, v),
        (false, true) => f.b.ins().fcvt_to_uint_sat(I32, v),
    };
    resized(f, wide, from.with_scalar(if unsigned { Scalar::U32 } else { Scalar::I32 }), from.with_scalar(to))
}

/// An integer to f32: narrow ones and truth values are i32 first.
fn from_int(f: &mut Func<'_>, v: Value, from: Type) -> Value {
    let float = if from.is_vector() { F32X4 } else { F32 };
    if from.scalar == Scalar::U32 {
        return f.b.ins().fcvt_from_uint(float, v);
    }
    let wide = resized(f, v, from, from.with_scalar(Scalar::I32));
    f.b.ins().fcvt_from_sint(float, wide)
}

/// An integer or truth value in lanes of another width, extended by the sign of its own type.
fn resized(f: &mut Func<'_>, v: Value, from: Type, to: Type) -> Value {
    let (had, want) = (lane_bits(from), lane_bits(to));
    if from.is_vector() {
        let v = if from.scalar == Scalar::Bool {
            let one = f.lanes(form(from), 1, had);
            f.b.ins().band(v, one)
        } else {
            v
        };
        return if had < want { vector::widened(f, v, had, want, from.scalar.is_signed()) } else { vector::narrowed(f, v, had, want) };
    }
    match had.cmp(&want) {
        std::cmp::Ordering::Equal => v,
        std::cmp::Ordering::Greater => f.b.ins().ireduce(form(to), v),
        std::cmp::Ordering::Less if from.scalar.is_signed() => f.b.ins().sextend(form(to), v),
        std::cmp::Ordering::Less => f.b.ins().uextend(form(to), v),
    }
}

/// `a` where `cond`, of type `of`, else `b`; one scalar `cond` chooses for all lanes.
pub(super) fn select(f: &mut Func<'_>, cond: Value, of: Type, a: Value, b: Value, to: Type) -> Value {
    if !of.is_vector() {
        return f.b.ins().select(cond, a, b);
    }
    let bits = lane_bits(to);
    let mask = narrowed_mask(f, cond, lane_bits(of), bits);
    let mask = f.bits(mask, form(to));
    f.b.ins().bitselect(mask, a, b)
}

/// A mask with narrower lanes.
fn narrowed_mask(f: &mut Func<'_>, mask: Value, had: u32, want: u32) -> Value {
    let (mut mask, mut bits) = (f.bits(mask, ints(had, false)), had);
    while bits > want {
        mask = f.b.ins().snarrow(mask, mask);
        bits /= 2;
    }
    mask
}

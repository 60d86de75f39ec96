//! Conversions of 16-bit floats where there are no instructions for them, in integer arithmetic on 32-bit lanes.
//!
//! The results are those of the instructions, subnormal numbers and infinities included; a NaN stays a NaN. The steps from f32 to
//! f16 are Fabian Giesen's (`float_to_half_fast3_rtne`): a magic sum rounds what becomes subnormal.

use super::steps::Steps;
use slmc_ir::kernel::{BinaryOp, CmpOp, Expr, Operand, Scalar, Type};

const SIGN: i32 = i32::MIN;
/// Bits of an f32 infinity.
const INFINITE: i32 = 0x7f80_0000;
/// 2^112: what the exponent of an f16 lacks to that of an f32.
const REBIAS: f32 = 5.192_297e33;
/// Bits of the least f32 that becomes an f16 infinity, whatever follows: 2^16.
const HALF_INFINITE: i32 = 143 << 23;
/// Bits of the least f32 that becomes a normal f16: 2^−14.
const HALF_NORMAL: i32 = 113 << 23;
/// Bits of 0.5, whose last bit has the value of an f16's last subnormal one.
const HALF_MAGIC: i32 = 126 << 23;

/// What `convert` of `x` to `ty` becomes, if it has 16-bit floats on one side or both.
pub(super) fn expand(s: &mut Steps<'_>, ty: Type, x: Operand) -> Option<Expr> {
    let from = s.ty(x)?;
    let half = |t: Type| matches!(t.scalar, Scalar::F16 | Scalar::Bf16);
    if from.scalar == ty.scalar || !(half(from) || half(ty)) {
        return None;
    }
    let floats = ty.with_scalar(Scalar::F32);
    let single = match from.scalar {
        Scalar::F16 => from_f16(s, floats, x),
        Scalar::Bf16 => {
            let bits = halfword(s, floats, x);
            s.binary(bits.1, BinaryOp::Shl, bits.0, 16i32)
        }
        Scalar::F32 => x,
        Scalar::I8 | Scalar::U8 | Scalar::I16 | Scalar::I32 | Scalar::U32 | Scalar::Bool => s.convert(floats, x),
    };
    let bits = match (half(from), half(ty)) {
        (true, false) if ty.scalar == Scalar::F32 => return Some(Expr::Bitcast(single)),
        (true, false) => {
            let single = s.bitcast(floats, single);
            return Some(Expr::Convert(single));
        }
        (true, true) => single,
        (false, _) => s.bitcast(floats.with_scalar(Scalar::I32), single),
    };
    let out = if ty.scalar == Scalar::F16 { to_f16(s, floats, bits) } else { to_bf16(s, floats, bits) };
    let out = s.convert(ty.with_scalar(Scalar::I16), out);
    Some(Expr::Bitcast(out))
}

/// The bits of 16-bit floats in i32 lanes, extended by their sign, and the type of these lanes.
fn halfword(s: &mut Steps<'_>, floats: Type, x: Operand) -> (Operand, Type) {
    let ints = floats.with_scalar(Scalar::I32);
    let words = s.bitcast(floats.with_scalar(Scalar::I16), x);
    (s.convert(ints, words), ints)
}

/// The bits of f16 as those of f32.
fn from_f16(s: &mut Steps<'_>, floats: Type, x: Operand) -> Operand {
    let (h, ints) = halfword(s, floats, x);
    let sign = s.binary(ints, BinaryOp::And, h, SIGN);
    let magnitude = s.binary(ints, BinaryOp::And, h, 0x7fff);
    let shifted = s.binary(ints, BinaryOp::Shl, magnitude, 13i32);
    let scaled = s.bitcast(floats, shifted);
    let scaled = s.binary(floats, BinaryOp::Mul, scaled, REBIAS);
    let scaled = s.bitcast(ints, scaled);
    // The exponent of infinities and NaNs is all ones in both.
    let special = s.cmp(ints, CmpOp::Ge, magnitude, 0x7c00);
    let ones = s.expr(ints, Expr::Select(special, INFINITE.into(), 0i32.into()));
    let bits = s.binary(ints, BinaryOp::Or, scaled, ones);
    s.binary(ints, BinaryOp::Or, bits, sign)
}

/// The bits of f32 as those of f16, in i32 lanes.
fn to_f16(s: &mut Steps<'_>, floats: Type, bits: Operand) -> Operand {
    let ints = floats.with_scalar(Scalar::I32);
    let sign = s.binary(ints, BinaryOp::And, bits, SIGN);
    let magnitude = s.binary(ints, BinaryOp::Xor, bits, sign);
    let nan = s.cmp(ints, CmpOp::Gt, magnitude, INFINITE);
    let special = s.expr(ints, Expr::Select(nan, 0x7e00.into(), 0x7c00.into()));

    let small = s.bitcast(floats, magnitude);
    let small = s.binary(floats, BinaryOp::Add, small, f32::from_bits(HALF_MAGIC.unsigned_abs()));
    let small = s.bitcast(ints, small);
    let small = s.binary(ints, BinaryOp::Sub, small, HALF_MAGIC);

    let odd = s.binary(ints, BinaryOp::Shr, magnitude, 13i32);
    let odd = s.binary(ints, BinaryOp::And, odd, 1i32);
    let normal = s.binary(ints, BinaryOp::Add, magnitude, 0xfff - (112 << 23));
    let normal = s.binary(ints, BinaryOp::Add, normal, odd);
    let normal = s.binary(ints, BinaryOp::Shr, normal, 13i32);

    let is_small = s.cmp(ints, CmpOp::Lt, magnitude, HALF_NORMAL);
    let out = s.expr(ints, Expr::Select(is_small, small, normal));
    let is_special = s.cmp(ints, CmpOp::Ge, magnitude, HALF_INFINITE);
    let out = s.expr(ints, Expr::Select(is_special, special, out));
    let sign = s.binary(ints, BinaryOp::Shr, sign, 16i32);
    s.binary(ints, BinaryOp::Or, out, sign)
}

/// The bits of f32 rounded to bf16, in i32 lanes.
fn to_bf16(s: &mut Steps<'_>, floats: Type, bits: Operand) -> Operand {
    let ints = floats.with_scalar(Scalar::I32);
    let upper = s.binary(ints, BinaryOp::Shr, bits, 16i32);
    let odd = s.binary(ints, BinaryOp::And, upper, 1i32);
    let rounded = s.binary(ints, BinaryOp::Add, odd, 0x7fff);
    let rounded = s.binary(ints, BinaryOp::Add, bits, rounded);
    let rounded = s.binary(ints, BinaryOp::Shr, rounded, 16i32);
    let quiet = s.binary(ints, BinaryOp::Or, upper, 0x40i32);
    let magnitude = s.binary(ints, BinaryOp::And, bits, i32::MAX);
    let nan = s.cmp(ints, CmpOp::Gt, magnitude, INFINITE);
    s.expr(ints, Expr::Select(nan, quiet, rounded))
}

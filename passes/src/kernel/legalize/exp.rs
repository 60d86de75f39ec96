//! `exp` of f32 by polynomial: e^x = 2^n · e^r, n = round(x · log2 e), |r| ≤ ln 2 / 2.
//!
//! At most 2 ulp for x in −87.33 … 88.37. Below, the result stays at e^−87.33 (about 1.2e-38, so e^−∞ is nearly 0); above, at
//! e^88.37 (about 2.4e38): never infinite. A NaN counts as the least input. The coefficients are those of Cephes' `expf`.

use super::steps::Steps;
use slmc_ir::kernel::{BinaryOp, Expr, Operand, Scalar, Type, UnaryOp};

/// Least and greatest input; at both, 2^n is a normal number.
const LEAST: f32 = -87.33654;
const MOST: f32 = 88.37626;
/// ln 2 as the sum of a number of few bits, whose products with n are exact, and the rest.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// (e^r − 1 − r) / r².
const COEFFICIENTS: [f32; 6] = [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];

/// What `exp x` of type `ty` becomes.
pub(super) fn expand(s: &mut Steps<'_>, ty: Type, x: Operand) -> Expr {
    let e = value(s, ty, x);
    Expr::Bitcast(e)
}

/// e^x as the bits of an f32, in i32 lanes.
fn value(s: &mut Steps<'_>, ty: Type, x: Operand) -> Operand {
    let ints = ty.with_scalar(Scalar::I32);
    let x = s.binary(ty, BinaryOp::Max, x, LEAST);
    let x = s.binary(ty, BinaryOp::Min, x, MOST);
    let n = s.binary(ty, BinaryOp::Mul, x, std::f32::consts::LOG2_E);
    let n = s.unary(ty, UnaryOp::Round, n);
    let r = s.fma(ty, n, -LN2_HIGH, x);
    let r = s.fma(ty, n, -LN2_LOW, r);
    let p = s.polynomial(ty, r, &COEFFICIENTS);
    let squared = s.binary(ty, BinaryOp::Mul, r, r);
    let p = s.fma(ty, p, squared, r);
    let p = s.binary(ty, BinaryOp::Add, p, 1.0f32);
    // p lies in 0.7 … 1.42, so adding n to its exponent is multiplying by 2^n, unless p < 1 and n = −126: there LEAST keeps
    // p · 2^n normal.
    let bits = s.bitcast(ints, p);
    let n = s.convert(ints, n);
    let n = s.binary(ints, BinaryOp::Shl, n, 23i32);
    s.binary(ints, BinaryOp::Add, bits, n)
}

/// e^x as f32.
pub(super) fn float(s: &mut Steps<'_>, ty: Type, x: Operand) -> Operand {
    let e = value(s, ty, x);
    s.bitcast(ty, e)
}

//! `tanh` of f32: an odd polynomial for |x| < 0.625, else 1 − 2 / (e^2|x| + 1) with the sign of x, e by [`super::exp`].
//!
//! At most 3 ulp everywhere. The coefficients are those of Cephes' `tanhf`.

use super::exp;
use super::steps::Steps;
use slmc_ir::kernel::{BinaryOp, CmpOp, Expr, Operand, Type, UnaryOp};

/// (tanh x − x) / x³ in x².
const COEFFICIENTS: [f32; 5] = [-5.704_988_7e-3, 2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1];
const SMALL: f32 = 0.625;

/// What `tanh x` of type `ty` becomes.
pub(super) fn expand(s: &mut Steps<'_>, ty: Type, x: Operand) -> Expr {
    let magnitude = s.unary(ty, UnaryOp::Abs, x);
    let twice = s.binary(ty, BinaryOp::Add, magnitude, magnitude);
    let e = exp::float(s, ty, twice);
    let e = s.binary(ty, BinaryOp::Add, e, 1.0f32);
    let rest = s.expr(ty, Expr::Binary(BinaryOp::Div, 2.0f32.into(), e));
    let large = s.expr(ty, Expr::Binary(BinaryOp::Sub, 1.0f32.into(), rest));
    let minus = s.unary(ty, UnaryOp::Neg, large);
    let negative = s.cmp(ty, CmpOp::Lt, x, 0.0f32);
    let large = s.expr(ty, Expr::Select(negative, minus, large));

    let squared = s.binary(ty, BinaryOp::Mul, x, x);
    let p = s.polynomial(ty, squared, &COEFFICIENTS);
    let cubed = s.binary(ty, BinaryOp::Mul, squared, x);
    let small = s.fma(ty, p, cubed, x);
    let is_small = s.cmp(ty, CmpOp::Lt, magnitude, SMALL);
    Expr::Select(is_small, small, large)
}

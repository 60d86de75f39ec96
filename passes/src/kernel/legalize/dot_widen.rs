//! `dot4` where there is no instruction for it: each of the four bytes is spread to the i32 lane and multiplied there.

use super::steps::Steps;
use slmc_ir::kernel::{BinaryOp, Expr, Operand, Scalar, Type};

/// What `dot4` of type `ty` becomes.
pub(super) fn expand(s: &mut Steps<'_>, ty: Type, acc: Operand, a: Operand, b: Operand) -> Option<Expr> {
    let signed = s.ty(a)?.scalar == Scalar::I8;
    let (a, b) = (s.bitcast(ty, a), s.bitcast(ty, b));
    let mut sum = acc;
    for c in 0..4i32 {
        let (of_a, of_b) = (byte(s, ty, a, signed, c), byte(s, ty, b, true, c));
        let product = s.binary(ty, BinaryOp::Mul, of_a, of_b);
        if c == 3 {
            return Some(Expr::Binary(BinaryOp::Add, product, sum));
        }
        sum = s.binary(ty, BinaryOp::Add, product, sum);
    }
    None
}

/// Byte `c` of each i32 lane, extended.
fn byte(s: &mut Steps<'_>, ty: Type, v: Operand, signed: bool, c: i32) -> Operand {
    if signed {
        let up = s.binary(ty, BinaryOp::Shl, v, 24 - 8 * c);
        s.binary(ty, BinaryOp::Shr, up, 24i32)
    } else {
        let down = s.binary(ty, BinaryOp::Shr, v, 8 * c);
        s.binary(ty, BinaryOp::And, down, 255i32)
    }
}

//! `dot4` of i8·i8 where the instruction takes u8·i8: a + 128 is a u8, so Σ a·b = Σ (a + 128)·b − Σ 128·b.

use super::steps::Steps;
use slmc_ir::kernel::{BinaryOp, Expr, Operand, Scalar, Type};

/// What `dot4` of type `ty` becomes; `None` if `a` is unsigned already.
pub(super) fn expand(s: &mut Steps<'_>, ty: Type, acc: Operand, a: Operand, b: Operand) -> Option<Expr> {
    let of = s.ty(a).filter(|t| t.scalar == Scalar::I8)?;
    let bytes = of.with_scalar(Scalar::U8);
    let a = s.bitcast(bytes, a);
    let shifted = s.binary(bytes, BinaryOp::Xor, a, 128i32);
    let sum = s.expr(ty, Expr::Dot4 { acc, a: shifted, b, max_a: 255 });
    let offset = s.constant(bytes, 128);
    let excess = s.expr(ty, Expr::Dot4 { acc: 0i32.into(), a: offset, b, max_a: 128 });
    Some(Expr::Binary(BinaryOp::Sub, sum, excess))
}

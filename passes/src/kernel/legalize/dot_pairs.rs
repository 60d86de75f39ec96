//! `dot4` where the instructions sum pairs (`pmaddubsw`, `pmaddwd`).
//!
//! - u8·i8 with a of at most 127: pairs into i16, those pairs (times 1) into i32. A chain of `dot4`s, each the accumulator of
//!   the next and of nothing else, is summed in i16 as long as no sum can overflow: with 4-bit a, eight in a row.
//! - Otherwise: even and odd bytes are spread to i16 lanes, whose products are summed in pairs.

use super::steps::Steps;
use slmc_ir::kernel::{BinaryOp, Expr, Operand, Scalar, Type};

/// Most that a sum of pairs of products with one a of 1 can be: |b| ≤ 128, two of them.
const PAIR: u32 = 2 * 128;

/// What `dot4` of type `ty` becomes. `single_use` says of an operand whether nothing but this uses it.
pub(super) fn expand(s: &mut Steps<'_>, ty: Type, e: &Expr, single_use: impl Fn(Operand) -> bool) -> Option<Expr> {
    let Expr::Dot4 { acc, a, b, max_a } = e else { return None };
    let of = s.ty(*a)?;
    if of.scalar != Scalar::U8 || *max_a > 127 {
        return Some(spread(s, ty, *acc, *a, *b, of));
    }
    let mut links = vec![(*a, *b)];
    let mut most = u32::from(*max_a) * PAIR;
    let mut start = *acc;
    while single_use(start)
        && let Some(Expr::Dot4 { acc, a, b, max_a }) = s.def(start)
        && s.ty(*a).is_some_and(|t| t.scalar == Scalar::U8)
        && most + u32::from(*max_a) * PAIR <= i16::MAX as u32
    {
        most += u32::from(*max_a) * PAIR;
        links.push((*a, *b));
        start = *acc;
    }
    let words = Type::vector(Scalar::I16, ty.lanes * 2);
    let mut sum: Option<Operand> = None;
    for (a, b) in links.into_iter().rev() {
        let pairs = s.expr(words, Expr::Dot2(a, b));
        sum = Some(match sum {
            None => pairs,
            Some(before) => s.binary(words, BinaryOp::Add, before, pairs),
        });
    }
    let ones = s.constant(words, 1);
    let sum = s.expr(ty, Expr::Dot2(sum?, ones));
    Some(Expr::Binary(BinaryOp::Add, sum, start))
}

/// By i16 lanes: the low byte of each, then the high one.
fn spread(s: &mut Steps<'_>, ty: Type, acc: Operand, a: Operand, b: Operand, of: Type) -> Expr {
    let words = Type::vector(Scalar::I16, ty.lanes * 2);
    let (a, b) = (s.bitcast(words, a), s.bitcast(words, b));
    let mut sum = acc;
    for low in [true, false] {
        let (a, b) = (byte(s, words, a, of.scalar == Scalar::I8, low), byte(s, words, b, true, low));
        let products = s.expr(ty, Expr::Dot2(a, b));
        if !low {
            return Expr::Binary(BinaryOp::Add, products, sum);
        }
        sum = s.binary(ty, BinaryOp::Add, products, sum);
    }
    Expr::Binary(BinaryOp::Add, sum, 0i32.into())
}

/// One byte of each i16 lane, extended.
fn byte(s: &mut Steps<'_>, words: Type, v: Operand, signed: bool, low: bool) -> Operand {
    match (low, signed) {
        (true, true) => {
            let up = s.binary(words, BinaryOp::Shl, v, 8i32);
            s.binary(words, BinaryOp::Shr, up, 8i32)
        }
        (true, false) => s.binary(words, BinaryOp::And, v, 255i32),
        (false, true) => s.binary(words, BinaryOp::Shr, v, 8i32),
        (false, false) => {
            let down = s.binary(words, BinaryOp::Shr, v, 8i32);
            s.binary(words, BinaryOp::And, down, 255i32)
        }
    }
}

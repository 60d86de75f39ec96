//! Pure expressions.
//!
//! Floats are compared and selected where naga's `min` and `max` would leave a NaN to the driver, and differ where they are not
//! equal, because naga's own comparison is false with a NaN in SPIR-V. `i32` wraps, `u32` does not
//! (the verifier's rule), so nothing is checked.

use super::Fault;
use super::builder::V;
use super::convert;
use super::func::Func;
use super::types::Form;
use naga::{BinaryOperator as Bo, MathFunction as Mf, ScalarKind, UnaryOperator as Uo};
use slmc_ir::kernel::{BinaryOp, CmpOp, Expr, Imm, Operand, ReduceOp, Scalar, Type, UnaryOp};

/// Writes an expression whose result has type `ty`.
pub(super) fn expr(f: &mut Func<'_, '_>, e: &Expr, ty: Type) -> Result<V, Fault> {
    match e {
        Expr::Builtin(b) => f.builtin(*b),
        Expr::Unary(op, a) => {
            let a = f.operand(*a, ty)?;
            unary(f, *op, a, ty)
        }
        Expr::Binary(BinaryOp::Add, Operand::Imm(a), Operand::Imm(b)) => f.constant(sum(*a, *b), ty),
        Expr::Binary(op, a, b) => match f.form(ty)? {
            Form::Packed(_) => packed_binary(f, *op, *a, *b, ty),
            Form::Plain(..) => plain_binary(f, *op, *a, *b, ty),
        },
        Expr::Fma(a, b, c) => {
            let args = [f.operand(*a, ty)?, f.operand(*b, ty)?, f.operand(*c, ty)?];
            Ok(f.b.math(Mf::Fma, &args))
        }
        Expr::Cmp(op, a, b) => {
            let of = type_of(f, *a)?;
            let (a, b) = (f.operand(*a, of)?, f.operand(*b, of)?);
            if *op == CmpOp::Ne && of.scalar.is_float() {
                let equal = f.b.binary(Bo::Equal, a, b);
                return Ok(f.b.unary(Uo::LogicalNot, equal));
            }
            Ok(f.b.binary(comparison(*op), a, b))
        }
        Expr::Select(c, a, b) => {
            let of = f.kernel.operand_type(*c).unwrap_or(Type::scalar(Scalar::Bool));
            let (c, a, b) = (f.operand(*c, of)?, f.operand(*a, ty)?, f.operand(*b, ty)?);
            Ok(f.b.select(c, a, b))
        }
        Expr::Convert(a) => {
            let from = type_of(f, *a)?;
            let a = f.operand(*a, from)?;
            convert::convert(f, a, from, ty)
        }
        Expr::Bitcast(a) => {
            let from = type_of(f, *a)?;
            let a = f.operand(*a, from)?;
            convert::bitcast(f, a, from, ty)
        }
        Expr::Dot4 { acc, a, b, .. } => dot4(f, *acc, *a, *b, ty),
        Expr::Dot2(..) => Err(Fault("dot2 is not legal".into())),
        Expr::Mmla(..) => Err(Fault("mmla is not legal".into())),
        Expr::Repeat(a) => {
            let from = type_of(f, *a)?;
            let (v, have) = (f.operand(*a, from)?, f.form(from)?.shape().1);
            let (scalar, want) = f.form(ty)?.shape();
            Ok(match (have, want) {
                (1, _) => f.b.splat(v, want),
                _ if have == want => v,
                _ => f.b.compose(scalar, want, vec![v; usize::from(want / have)]),
            })
        }
        Expr::Extract(a, lane) => {
            let from = type_of(f, *a)?;
            let v = f.operand(*a, from)?;
            Ok(convert::word(f, v, from.lanes, *lane))
        }
        Expr::Shuffle(a, b, lanes) => {
            let from = type_of(f, *a)?;
            let (a, b) = (f.operand(*a, from)?, f.operand(*b, from)?);
            let mut parts = Vec::new();
            for &lane in lanes {
                let (v, lane) = if lane < from.lanes { (a, lane) } else { (b, lane - from.lanes) };
                parts.push(convert::word(f, v, from.lanes, lane));
            }
            let (scalar, want) = f.form(ty)?.shape();
            Ok(f.b.compose(scalar, want, parts))
        }
        Expr::Reduce(op, a) => {
            let from = type_of(f, *a)?;
            let mut v = f.operand(*a, from)?;
            let mut lanes = from.lanes;
            let op = match op {
                ReduceOp::Add => BinaryOp::Add,
                ReduceOp::Max => BinaryOp::Max,
                ReduceOp::Min => BinaryOp::Min,
            };
            while lanes > 1 {
                let (low, high) = (f.b.half(v, lanes, false), f.b.half(v, lanes, true));
                lanes /= 2;
                v = arithmetic(f, op, low, high, ty.scalar);
            }
            Ok(v)
        }
    }
}

/// The type of an operand that must be a value.
fn type_of(f: &Func<'_, '_>, operand: Operand) -> Result<Type, Fault> {
    f.kernel.operand_type(operand).ok_or_else(|| Fault(format!("{operand} has no type")))
}

fn sum(a: Imm, b: Imm) -> Imm {
    match (a, b) {
        (Imm::Int(a), Imm::Int(b)) => Imm::Int(a.wrapping_add(b)),
        (Imm::Float(a), Imm::Float(b)) => Imm::Float(a + b),
        (Imm::Float(_), Imm::Int(_)) | (Imm::Int(_), Imm::Float(_)) => a,
    }
}

fn unary(f: &mut Func<'_, '_>, op: UnaryOp, a: V, ty: Type) -> Result<V, Fault> {
    Ok(match op {
        UnaryOp::Neg => f.b.unary(Uo::Negate, a),
        UnaryOp::Abs => f.b.math(Mf::Abs, &[a]),
        UnaryOp::Round => f.b.math(Mf::Round, &[a]),
        UnaryOp::Floor => f.b.math(Mf::Floor, &[a]),
        UnaryOp::Sqrt => f.b.math(Mf::Sqrt, &[a]),
        UnaryOp::Not if ty.scalar == Scalar::Bool => f.b.unary(Uo::LogicalNot, a),
        UnaryOp::Not => f.b.unary(Uo::BitwiseNot, a),
        UnaryOp::Exp | UnaryOp::Tanh => return Err(Fault(format!("{op} is not legal"))),
    })
}

fn comparison(op: CmpOp) -> Bo {
    match op {
        CmpOp::Eq => Bo::Equal,
        CmpOp::Ne => Bo::NotEqual,
        CmpOp::Lt => Bo::Less,
        CmpOp::Le => Bo::LessEqual,
        CmpOp::Gt => Bo::Greater,
        CmpOp::Ge => Bo::GreaterEqual,
    }
}

/// `a op b` on lanes, except shifts and integer quotients.
fn arithmetic(f: &mut Func<'_, '_>, op: BinaryOp, a: V, b: V, scalar: Scalar) -> V {
    let (float, truth) = (scalar.is_float(), scalar == Scalar::Bool);
    let op = match op {
        BinaryOp::Min | BinaryOp::Max if float => {
            let first = f.b.binary(if op == BinaryOp::Min { Bo::Less } else { Bo::Greater }, a, b);
            return f.b.select(first, a, b);
        }
        BinaryOp::Min => return f.b.math(Mf::Min, &[a, b]),
        BinaryOp::Max => return f.b.math(Mf::Max, &[a, b]),
        BinaryOp::Add => Bo::Add,
        BinaryOp::Sub => Bo::Subtract,
        BinaryOp::Mul => Bo::Multiply,
        BinaryOp::Div => Bo::Divide,
        BinaryOp::Rem => Bo::Modulo,
        BinaryOp::And => Bo::And,
        BinaryOp::Or => Bo::InclusiveOr,
        BinaryOp::Xor if truth => Bo::NotEqual,
        BinaryOp::Xor => Bo::ExclusiveOr,
        BinaryOp::Shl => Bo::ShiftLeft,
        BinaryOp::Shr => Bo::ShiftRight,
    };
    f.b.binary(op, a, b)
}

fn plain_binary(f: &mut Func<'_, '_>, op: BinaryOp, a: Operand, b: Operand, ty: Type) -> Result<V, Fault> {
    let left = f.operand(a, ty)?;
    match op {
        BinaryOp::Shl | BinaryOp::Shr => {
            let amount = match b {
                Operand::Imm(Imm::Int(n)) => f.constant(Imm::Int(n & 31), ty.with_scalar(Scalar::U32))?,
                _ if ty.scalar == Scalar::I32 => {
                    let b = f.operand(b, ty)?;
                    f.b.bits(b, ScalarKind::Uint)
                }
                _ => f.operand(b, ty)?,
            };
            Ok(arithmetic(f, op, left, amount, ty.scalar))
        }
        BinaryOp::Div if ty.scalar == Scalar::I32 => signed_quotient(f, left, b, ty),
        BinaryOp::Div | BinaryOp::Rem if ty.scalar == Scalar::U32 => {
            let right = match b {
                // A zero divisor is legal only where it is not reached.
                Operand::Imm(Imm::Int(n)) => f.constant(Imm::Int(n.max(1)), ty)?,
                _ => f.operand(b, ty)?,
            };
            Ok(arithmetic(f, op, left, right, ty.scalar))
        }
        _ => {
            let right = f.operand(b, ty)?;
            Ok(arithmetic(f, op, left, right, ty.scalar))
        }
    }
}

/// `left / b`, where the least number over −1 wraps and must not be asked of the device.
fn signed_quotient(f: &mut Func<'_, '_>, left: V, b: Operand, ty: Type) -> Result<V, Fault> {
    match b {
        Operand::Imm(Imm::Int(-1)) => Ok(f.b.unary(Uo::Negate, left)),
        Operand::Imm(Imm::Int(n)) => {
            let right = f.constant(Imm::Int(if n == 0 { 1 } else { n }), ty)?;
            Ok(f.b.binary(Bo::Divide, left, right))
        }
        _ => {
            let right = f.operand(b, ty)?;
            let (one, minus) = (f.constant(Imm::Int(1), ty)?, f.constant(Imm::Int(-1), ty)?);
            let negates = f.b.binary(Bo::Equal, right, minus);
            let divisor = f.b.select(negates, one, right);
            let quotient = f.b.binary(Bo::Divide, left, divisor);
            let negated = f.b.unary(Uo::Negate, left);
            Ok(f.b.select(negates, negated, quotient))
        }
    }
}

/// Bit operations on packed bytes: a shift by a constant moves whole words and masks what crossed a byte.
fn packed_binary(f: &mut Func<'_, '_>, op: BinaryOp, a: Operand, b: Operand, ty: Type) -> Result<V, Fault> {
    let left = f.operand(a, ty)?;
    let (Operand::Imm(Imm::Int(n)), BinaryOp::Shl | BinaryOp::Shr) = (b, op) else {
        let right = f.operand(b, ty)?;
        return Ok(arithmetic(f, op, left, right, Scalar::U32));
    };
    let n = (n & 7) as u32;
    if n == 0 {
        return Ok(left);
    }
    let words = Type::vector(Scalar::U32, f.form(ty)?.shape().1);
    let splat = |byte: u32| Imm::Int(i64::from(byte * 0x0101_0101));
    let (kept, amount) = (f.constant(splat(0xff >> n), words)?, f.constant(Imm::Int(i64::from(n)), words)?);
    if op == BinaryOp::Shl {
        let kept = f.b.binary(Bo::And, left, kept);
        return Ok(f.b.binary(Bo::ShiftLeft, kept, amount));
    }
    let moved = f.b.binary(Bo::ShiftRight, left, amount);
    let moved = f.b.binary(Bo::And, moved, kept);
    if ty.scalar == Scalar::U8 {
        return Ok(moved);
    }
    // The sign bit of each byte, times the bits that it fills.
    let seven = f.constant(Imm::Int(7), words)?;
    let ones = f.constant(splat(1), words)?;
    let fill = f.constant(Imm::Int(i64::from(0xff << (8 - n) & 0xff)), words)?;
    let signs = f.b.binary(Bo::ShiftRight, left, seven);
    let signs = f.b.binary(Bo::And, signs, ones);
    let signs = f.b.binary(Bo::Multiply, signs, fill);
    Ok(f.b.binary(Bo::InclusiveOr, moved, signs))
}

/// Four products a word. Every use gets expressions of its own: naga's MSL writer declares a name per operand and use, which
/// clashes where one expression is the operand of two dot products of a block.
fn dot4(f: &mut Func<'_, '_>, acc: Operand, a: Operand, b: Operand, ty: Type) -> Result<V, Fault> {
    let from = type_of(f, a)?;
    let (a, b) = (f.operand(a, from)?, f.operand(b, from.with_scalar(Scalar::I8))?);
    let mut sums = Vec::new();
    for i in 0..ty.lanes {
        let (a, b) = (convert::word(f, a, ty.lanes, i), convert::word(f, b, ty.lanes, i));
        let (a, b) = (f.b.bits(a, ScalarKind::Uint), f.b.bits(b, ScalarKind::Uint));
        sums.push(f.b.math(Mf::Dot4I8Packed, &[a, b]));
    }
    let sums = f.b.compose(naga::Scalar::I32, ty.lanes, sums);
    if matches!(acc, Operand::Imm(Imm::Int(0))) {
        return Ok(sums);
    }
    let acc = f.operand(acc, ty)?;
    Ok(f.b.binary(Bo::Add, acc, sums))
}

//! Pure expressions.

use super::convert::{convert, select};
use super::func::Func;
use super::types::{form, lane_bits};
use super::{Fault, vector};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::I32;
use cranelift_codegen::ir::{InstBuilder as _, Value};
use slmc_ir::kernel::{BinaryOp, CmpOp, Expr, Imm, Operand, Scalar, Type, UnaryOp};

/// The value of an expression of type `to`.
pub(super) fn expr(f: &mut Func<'_>, e: &Expr, to: Type) -> Result<Value, Fault> {
    match e {
        Expr::Builtin(b) => Ok(f.builtin(*b)),
        Expr::Unary(op, a) => {
            let a = f.operand(*a, to)?;
            unary(f, *op, a, to)
        }
        Expr::Binary(op @ (BinaryOp::Shl | BinaryOp::Shr), a, Operand::Imm(Imm::Int(n))) if to.is_vector() => {
            let (a, n) = (f.operand(*a, to)?, f.number(I32, *n));
            Ok(shift(f, *op, a, n, to.scalar))
        }
        Expr::Binary(op, a, b) => {
            let (a, b) = (f.operand(*a, to)?, f.operand(*b, to)?);
            binary(f, *op, a, b, to)
        }
        Expr::Fma(a, b, c) => {
            let (a, b, c) = (f.operand(*a, to)?, f.operand(*b, to)?, f.operand(*c, to)?);
            Ok(f.b.ins().fma(a, b, c))
        }
        Expr::Cmp(op, a, b) => {
            let of = operands_type(f, *a, *b)?;
            let (a, b) = (f.operand(*a, of)?, f.operand(*b, of)?);
            let mask = compare(f, *op, a, b, of.scalar);
            Ok(if of.is_vector() { vector::widened(f, mask, lane_bits(of), lane_bits(to), true) } else { mask })
        }
        Expr::Select(cond, a, b) => {
            let of = f.type_of(*cond, Type::scalar(Scalar::Bool));
            let (cond, a, b) = (f.operand(*cond, of)?, f.operand(*a, to)?, f.operand(*b, to)?);
            Ok(select(f, cond, of, a, b, to))
        }
        Expr::Convert(a) => {
            let from = f.type_of(*a, to);
            let a = f.operand(*a, from)?;
            convert(f, a, from, to.scalar)
        }
        Expr::Bitcast(a) => {
            let from = f.type_of(*a, to);
            let a = f.operand(*a, from)?;
            Ok(vector::bitcast(f, a, from, to))
        }
        Expr::Dot4 { acc, a, b, .. } => {
            let unsigned = f.type_of(*a, Type::scalar(Scalar::U8)).scalar == Scalar::U8;
            let bytes = Type::vector(Scalar::I8, to.lanes * 4);
            let (acc, a, b) = (f.operand(*acc, to)?, f.operand(*a, bytes)?, f.operand(*b, bytes)?);
            Ok(vector::dot4(f, acc, a, b, unsigned, to))
        }
        Expr::Dot2(a, b) => {
            let lane = if to.scalar == Scalar::I16 { Scalar::I8 } else { Scalar::I16 };
            let pairs = Type::vector(lane, to.lanes * 2);
            let (a, b) = (f.operand(*a, pairs)?, f.operand(*b, pairs)?);
            Ok(vector::dot2(f, a, b, to))
        }
        Expr::Mmla(..) => Err(Fault("mmla is not legal".into())),
        Expr::Repeat(a) => {
            let from = f.type_of(*a, Type::scalar(to.scalar));
            let a = f.operand(*a, from)?;
            Ok(vector::repeat(f, a, from, to))
        }
        Expr::Extract(a, n) => {
            let from = f.type_of(*a, to);
            let a = f.operand(*a, from)?;
            Ok(vector::extract(f, a, from, *n))
        }
        Expr::Shuffle(a, b, lanes) => {
            let from = operands_type(f, *a, *b)?;
            let (a, b) = (f.operand(*a, from)?, f.operand(*b, from)?);
            Ok(vector::shuffle(f, a, b, from, lanes))
        }
        Expr::Reduce(op, a) => {
            let from = f.type_of(*a, to);
            let a = f.operand(*a, from)?;
            vector::reduce(f, *op, a, from)
        }
    }
}

/// The type of two operands of one type.
fn operands_type(f: &Func<'_>, a: Operand, b: Operand) -> Result<Type, Fault> {
    let kernel = f.kernel;
    kernel.operand_type(a).or(kernel.operand_type(b)).ok_or_else(|| Fault("two immediates have no type".into()))
}

fn unary(f: &mut Func<'_>, op: UnaryOp, a: Value, to: Type) -> Result<Value, Fault> {
    let float = to.scalar.is_float();
    Ok(match op {
        UnaryOp::Neg if float => f.b.ins().fneg(a),
        UnaryOp::Neg => f.b.ins().ineg(a),
        UnaryOp::Abs if float => f.b.ins().fabs(a),
        UnaryOp::Abs if to.is_vector() => f.b.ins().iabs(a),
        UnaryOp::Abs => {
            let zero = f.number(form(to), 0);
            let negative = f.b.ins().icmp(IntCC::SignedLessThan, a, zero);
            let negated = f.b.ins().ineg(a);
            f.b.ins().select(negative, negated, a)
        }
        UnaryOp::Round => f.b.ins().nearest(a),
        UnaryOp::Floor => f.b.ins().floor(a),
        UnaryOp::Sqrt => f.b.ins().sqrt(a),
        UnaryOp::Not if to == Type::scalar(Scalar::Bool) => {
            let one = f.number(form(to), 1);
            f.b.ins().bxor(a, one)
        }
        UnaryOp::Not => f.b.ins().bnot(a),
        UnaryOp::Exp | UnaryOp::Tanh => return Err(Fault("exp and tanh are expanded before".into())),
    })
}

/// Two operands of one type.
pub(super) fn binary(f: &mut Func<'_>, op: BinaryOp, a: Value, b: Value, of: Type) -> Result<Value, Fault> {
    let (float, signed) = (of.scalar.is_float(), of.scalar.is_signed());
    Ok(match op {
        BinaryOp::Add if float => f.b.ins().fadd(a, b),
        BinaryOp::Sub if float => f.b.ins().fsub(a, b),
        BinaryOp::Mul if float => f.b.ins().fmul(a, b),
        BinaryOp::Div if float => f.b.ins().fdiv(a, b),
        BinaryOp::Add => f.b.ins().iadd(a, b),
        BinaryOp::Sub => f.b.ins().isub(a, b),
        BinaryOp::Mul => f.b.ins().imul(a, b),
        BinaryOp::Div if signed => signed_quotient(f, a, b, of),
        BinaryOp::Div => f.b.ins().udiv(a, b),
        BinaryOp::Rem => f.b.ins().urem(a, b),
        // Ordered so that Cranelift finds the instruction that does the same: the second of two where one is a NaN.
        BinaryOp::Min if float => {
            let less = f.b.ins().fcmp(FloatCC::LessThan, a, b);
            chosen(f, less, a, b, of)
        }
        BinaryOp::Max if float => {
            let greater = f.b.ins().fcmp(FloatCC::LessThan, b, a);
            chosen(f, greater, a, b, of)
        }
        BinaryOp::Min => {
            let less = compare(f, CmpOp::Lt, a, b, of.scalar);
            chosen(f, less, a, b, of)
        }
        BinaryOp::Max => {
            let greater = compare(f, CmpOp::Gt, a, b, of.scalar);
            chosen(f, greater, a, b, of)
        }
        BinaryOp::And => f.b.ins().band(a, b),
        BinaryOp::Or => f.b.ins().bor(a, b),
        BinaryOp::Xor => f.b.ins().bxor(a, b),
        BinaryOp::Shl | BinaryOp::Shr => shift(f, op, a, b, of.scalar),
    })
}

/// `a` where a comparison of lanes of `of` holds, else `b`.
fn chosen(f: &mut Func<'_>, cond: Value, a: Value, b: Value, of: Type) -> Value {
    if of.is_vector() {
        let mask = f.bits(cond, form(of));
        f.b.ins().bitselect(mask, a, b)
    } else {
        f.b.ins().select(cond, a, b)
    }
}

/// All lanes by one count.
fn shift(f: &mut Func<'_>, op: BinaryOp, a: Value, by: Value, of: Scalar) -> Value {
    match op {
        BinaryOp::Shl => f.b.ins().ishl(a, by),
        _ if of.is_signed() => f.b.ins().sshr(a, by),
        _ => f.b.ins().ushr(a, by),
    }
}

/// A quotient that wraps where Cranelift's traps: the least integer by −1.
fn signed_quotient(f: &mut Func<'_>, a: Value, b: Value, of: Type) -> Value {
    let (one, minus_one) = (f.number(form(of), 1), f.number(form(of), -1));
    let by_minus_one = f.b.ins().icmp(IntCC::Equal, b, minus_one);
    let divisor = f.b.ins().select(by_minus_one, one, b);
    let quotient = f.b.ins().sdiv(a, divisor);
    let negated = f.b.ins().ineg(a);
    f.b.ins().select(by_minus_one, negated, quotient)
}

/// Compares lanes of `of`: a `bool`, or a mask as wide as the lanes.
fn compare(f: &mut Func<'_>, op: CmpOp, a: Value, b: Value, of: Scalar) -> Value {
    if of.is_float() {
        let cond = match op {
            CmpOp::Eq => FloatCC::Equal,
            CmpOp::Ne => FloatCC::NotEqual,
            CmpOp::Lt => FloatCC::LessThan,
            CmpOp::Le => FloatCC::LessThanOrEqual,
            CmpOp::Gt => FloatCC::GreaterThan,
            CmpOp::Ge => FloatCC::GreaterThanOrEqual,
        };
        return f.b.ins().fcmp(cond, a, b);
    }
    let cond = match (op, of.is_signed()) {
        (CmpOp::Eq, _) => IntCC::Equal,
        (CmpOp::Ne, _) => IntCC::NotEqual,
        (CmpOp::Lt, true) => IntCC::SignedLessThan,
        (CmpOp::Le, true) => IntCC::SignedLessThanOrEqual,
        (CmpOp::Gt, true) => IntCC::SignedGreaterThan,
        (CmpOp::Ge, true) => IntCC::SignedGreaterThanOrEqual,
        (CmpOp::Lt, false) => IntCC::UnsignedLessThan,
        (CmpOp::Le, false) => IntCC::UnsignedLessThanOrEqual,
        (CmpOp::Gt, false) => IntCC::UnsignedGreaterThan,
        (CmpOp::Ge, false) => IntCC::UnsignedGreaterThanOrEqual,
    };
    f.b.ins().icmp(cond, a, b)
}

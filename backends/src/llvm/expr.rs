//! Pure expressions.

use super::convert::{compare_floats, compare_ints, convert, select, shift_right};
use super::func::{Func, on_floats, on_ints};
use super::{Fault, types, vector};
use inkwell::values::BasicValueEnum;
use inkwell::{FloatPredicate, IntPredicate};
use slmc_ir::kernel::{BinaryOp, CmpOp, Expr, Operand, Scalar, Type, UnaryOp};

type Value<'ctx> = BasicValueEnum<'ctx>;

/// The value of an expression of type `to`.
pub(super) fn expr<'ctx>(f: &Func<'_, 'ctx>, e: &Expr, to: Type) -> Result<Value<'ctx>, Fault> {
    match e {
        Expr::Builtin(b) => Ok(f.builtin(*b).into()),
        Expr::Unary(op, a) => unary(f, *op, f.operand(*a, to)?, to),
        Expr::Binary(op, a, b) => binary(f, *op, f.operand(*a, to)?, f.operand(*b, to)?, to.scalar),
        Expr::Fma(a, b, c) => {
            let args = [f.operand(*a, to)?, f.operand(*b, to)?, f.operand(*c, to)?];
            f.compute("llvm.fma", &[types::ty(f.cx, to)], &args)
        }
        Expr::Cmp(op, a, b) => {
            let of = operands_type(f, *a, *b)?;
            compare(f, *op, f.operand(*a, of)?, f.operand(*b, of)?, of.scalar)
        }
        Expr::Select(cond, a, b) => {
            let cond = f.operand(*cond, f.type_of(*cond, Type::scalar(Scalar::Bool)))?;
            select(f, cond, f.operand(*a, to)?, f.operand(*b, to)?)
        }
        Expr::Convert(a) => {
            let from = f.type_of(*a, to);
            convert(f, f.operand(*a, from)?, from, to.scalar)
        }
        Expr::Bitcast(a) => f.bits(f.operand(*a, to)?, types::ty(f.cx, to)),
        Expr::Dot4 { acc, a, b, .. } => {
            let bytes = |s| Type::vector(s, to.lanes * 4);
            let (a, b) = (f.operand(*a, bytes(Scalar::U8))?, f.operand(*b, bytes(Scalar::I8))?);
            vector::dot4(f, f.operand(*acc, to)?, a, b, to)
        }
        Expr::Dot2(a, b) => {
            let (of_a, of_b) = match to.scalar {
                Scalar::I16 => (Scalar::U8, Scalar::I8),
                _ => (Scalar::I16, Scalar::I16),
            };
            let pairs = |s| Type::vector(s, to.lanes * 2);
            vector::dot2(f, f.operand(*a, pairs(of_a))?, f.operand(*b, pairs(of_b))?, to)
        }
        Expr::Mmla(acc, a, b) => {
            let bytes = Type::vector(Scalar::I8, to.lanes * 4);
            vector::mmla(f, f.operand(*acc, to)?, f.operand(*a, bytes)?, f.operand(*b, bytes)?, to)
        }
        Expr::Repeat(a) => {
            let from = f.type_of(*a, Type::scalar(to.scalar));
            vector::repeat(f, f.operand(*a, from)?, from, to)
        }
        Expr::Extract(a, n) => vector::extract(f, f.operand(*a, to)?, u32::from(*n)),
        Expr::Shuffle(a, b, lanes) => {
            let from = operands_type(f, *a, *b)?;
            vector::shuffle(f, f.operand(*a, from)?, f.operand(*b, from)?, from, lanes)
        }
        Expr::Reduce(op, a) => {
            let from = f.type_of(*a, to);
            vector::reduce(f, *op, f.operand(*a, from)?, from)
        }
    }
}

/// The type of two operands of one type.
fn operands_type(f: &Func<'_, '_>, a: Operand, b: Operand) -> Result<Type, Fault> {
    let kernel = f.kernel;
    kernel.operand_type(a).or(kernel.operand_type(b)).ok_or_else(|| Fault("two immediates have no type".into()))
}

fn unary<'ctx>(f: &Func<'_, 'ctx>, op: UnaryOp, a: Value<'ctx>, to: Type) -> Result<Value<'ctx>, Fault> {
    let overload = [types::ty(f.cx, to)];
    let float = to.scalar.is_float();
    match op {
        UnaryOp::Neg if float => Ok(on_floats!(f.b, build_float_neg(a))),
        UnaryOp::Neg => Ok(on_ints!(f.b, build_int_neg(a))),
        UnaryOp::Abs if float => f.compute("llvm.fabs", &overload, &[a]),
        UnaryOp::Abs => f.compute("llvm.abs", &overload, &[a, f.cx.bool_type().const_zero().into()]),
        UnaryOp::Round => f.compute("llvm.roundeven", &overload, &[a]),
        UnaryOp::Floor => f.compute("llvm.floor", &overload, &[a]),
        UnaryOp::Sqrt => f.compute("llvm.sqrt", &overload, &[a]),
        UnaryOp::Not => Ok(on_ints!(f.b, build_not(a))),
        UnaryOp::Exp | UnaryOp::Tanh => Err(Fault("exp and tanh are expanded before".into())),
    }
}

/// Two operands of one type. Index arithmetic does not wrap, which LLVM is told.
pub(super) fn binary<'ctx>(f: &Func<'_, 'ctx>, op: BinaryOp, a: Value<'ctx>, b: Value<'ctx>, of: Scalar) -> Result<Value<'ctx>, Fault> {
    let index = of == Scalar::U32;
    if of.is_float() {
        return Ok(match op {
            BinaryOp::Add => on_floats!(f.b, build_float_add(a, b)),
            BinaryOp::Sub => on_floats!(f.b, build_float_sub(a, b)),
            BinaryOp::Mul => on_floats!(f.b, build_float_mul(a, b)),
            BinaryOp::Div => on_floats!(f.b, build_float_div(a, b)),
            BinaryOp::Min => select(f, compare_floats(f, FloatPredicate::OLT, a, b)?, a, b)?,
            BinaryOp::Max => select(f, compare_floats(f, FloatPredicate::OGT, a, b)?, a, b)?,
            other => return Err(Fault(format!("{other:?} of floats"))),
        });
    }
    Ok(match op {
        BinaryOp::Add if index => on_ints!(f.b, build_int_nuw_add(a, b)),
        BinaryOp::Sub if index => on_ints!(f.b, build_int_nuw_sub(a, b)),
        BinaryOp::Mul if index => on_ints!(f.b, build_int_nuw_mul(a, b)),
        BinaryOp::Add => on_ints!(f.b, build_int_add(a, b)),
        BinaryOp::Sub => on_ints!(f.b, build_int_sub(a, b)),
        BinaryOp::Mul => on_ints!(f.b, build_int_mul(a, b)),
        BinaryOp::Div if of.is_signed() => signed_quotient(f, a, b)?,
        BinaryOp::Div => on_ints!(f.b, build_int_unsigned_div(a, b)),
        BinaryOp::Rem => on_ints!(f.b, build_int_unsigned_rem(a, b)),
        BinaryOp::Min => select(f, compare(f, CmpOp::Lt, a, b, of)?, a, b)?,
        BinaryOp::Max => select(f, compare(f, CmpOp::Gt, a, b, of)?, a, b)?,
        BinaryOp::And => on_ints!(f.b, build_and(a, b)),
        BinaryOp::Or => on_ints!(f.b, build_or(a, b)),
        BinaryOp::Xor => on_ints!(f.b, build_xor(a, b)),
        BinaryOp::Shl => on_ints!(f.b, build_left_shift(a, b)),
        BinaryOp::Shr => shift_right(f, a, b, of.is_signed())?,
    })
}

/// A quotient that wraps where LLVM's is undefined: the least integer by −1.
fn signed_quotient<'ctx>(f: &Func<'_, 'ctx>, a: Value<'ctx>, b: Value<'ctx>) -> Result<Value<'ctx>, Fault> {
    let lane = |n: u64| {
        let one = if b.is_vector_value() { b.into_vector_value().get_type().get_element_type() } else { b.get_type() };
        let one = one.into_int_type().const_int(n, true);
        if b.is_vector_value() { types::splat_const(one.into(), b.into_vector_value().get_type().get_size() as u16).into() } else { one.into() }
    };
    let by_minus_one = compare_ints(f, IntPredicate::EQ, b, lane(u64::MAX))?;
    let divisor = select(f, by_minus_one, lane(1), b)?;
    let quotient = on_ints!(f.b, build_int_signed_div(a, divisor));
    let negated = on_ints!(f.b, build_int_neg(a));
    select(f, by_minus_one, negated, quotient)
}

fn compare<'ctx>(f: &Func<'_, 'ctx>, op: CmpOp, a: Value<'ctx>, b: Value<'ctx>, of: Scalar) -> Result<Value<'ctx>, Fault> {
    if of.is_float() {
        let predicate = match op {
            CmpOp::Eq => FloatPredicate::OEQ,
            CmpOp::Ne => FloatPredicate::UNE,
            CmpOp::Lt => FloatPredicate::OLT,
            CmpOp::Le => FloatPredicate::OLE,
            CmpOp::Gt => FloatPredicate::OGT,
            CmpOp::Ge => FloatPredicate::OGE,
        };
        return compare_floats(f, predicate, a, b);
    }
    let predicate = match (op, of.is_signed()) {
        (CmpOp::Eq, _) => IntPredicate::EQ,
        (CmpOp::Ne, _) => IntPredicate::NE,
        (CmpOp::Lt, true) => IntPredicate::SLT,
        (CmpOp::Le, true) => IntPredicate::SLE,
        (CmpOp::Gt, true) => IntPredicate::SGT,
        (CmpOp::Ge, true) => IntPredicate::SGE,
        (CmpOp::Lt, false) => IntPredicate::ULT,
        (CmpOp::Le, false) => IntPredicate::ULE,
        (CmpOp::Gt, false) => IntPredicate::UGT,
        (CmpOp::Ge, false) => IntPredicate::UGE,
    };
    compare_ints(f, predicate, a, b)
}

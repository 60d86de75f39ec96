//! Rule `type` for expressions: what [`Expr`] documents of operand and result types, as a check.

use super::expr::{BinaryOp, CmpOp, Expr, Imm, Operand, UnaryOp};
use super::ty::{Scalar, Type};
use super::{Kernel, ValueId};

/// Why an immediate cannot stand where `ty` is demanded, if it cannot.
pub(super) fn immediate_fault(imm: Imm, ty: Type) -> Option<String> {
    match imm {
        Imm::Float(_) if ty.scalar.is_float() => None,
        Imm::Float(_) => Some(format!("a float immediate stands in a place of type {ty}; write an integer")),
        Imm::Int(_) if ty.scalar.is_float() => Some(format!("an integer immediate stands in a place of type {ty}; write a float")),
        Imm::Int(n) => {
            let (low, high) = int_range(ty.scalar);
            (n < low || n > high).then(|| format!("immediate {n} does not fit {ty} ({low}..={high})"))
        }
    }
}

/// Least and greatest value of an integer type; of `bool`, 0 and 1.
pub(super) fn int_range(scalar: Scalar) -> (i64, i64) {
    match scalar {
        Scalar::I8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
        Scalar::U8 => (0, i64::from(u8::MAX)),
        Scalar::I16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        Scalar::I32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        Scalar::U32 => (0, i64::from(u32::MAX)),
        Scalar::Bool => (0, 1),
        Scalar::F32 | Scalar::F16 | Scalar::Bf16 => (0, 0),
    }
}

/// Why a type is not one of the IR, if it is not.
pub(super) fn width_fault(ty: Type) -> Option<String> {
    (!ty.lanes.is_power_of_two() || ty.lanes > 64).then(|| format!("{} lanes; a type has 1 to 64, a power of two", ty.lanes))
}

/// The type faults of the expression that defines `value`, whose operands all exist.
pub(super) fn expr_faults(kernel: &Kernel, value: ValueId, expr: &Expr) -> Vec<String> {
    let ty = kernel.values[value].ty;
    let mut check = Check { kernel, faults: Vec::new() };
    check.expr(ty, expr);
    check.faults
}

struct Check<'k> {
    kernel: &'k Kernel,
    faults: Vec<String>,
}

impl Check<'_> {
    fn demand(&mut self, ok: bool, message: impl FnOnce() -> String) {
        if !ok {
            self.faults.push(message());
        }
    }

    /// Operand number `n` (from 1) must have type `ty` or be an immediate that fits.
    fn operand(&mut self, n: usize, operand: Operand, ty: Type) {
        match operand {
            Operand::Imm(imm) => self.faults.extend(immediate_fault(imm, ty)),
            Operand::Value(v) => {
                let found = self.kernel.values[v].ty;
                self.demand(found == ty, || format!("operand {n}, {v}, has type {found}; expected {ty}"));
            }
        }
    }

    /// The type of an operand that must be a value.
    fn value(&mut self, n: usize, operand: Operand) -> Option<Type> {
        let ty = self.kernel.operand_type(operand);
        self.demand(ty.is_some(), || format!("operand {n} is an immediate; it must be a value, as nothing else states its type"));
        ty
    }

    fn expr(&mut self, ty: Type, expr: &Expr) {
        let scalar = ty.scalar;
        match expr {
            Expr::Builtin(_) => self.demand(ty == Type::INDEX, || format!("the result has type {ty}; expected u32")),
            Expr::Unary(op, a) => {
                let ok = match op {
                    UnaryOp::Neg | UnaryOp::Abs => scalar.is_float() || scalar.is_signed(),
                    UnaryOp::Round | UnaryOp::Floor | UnaryOp::Sqrt => scalar.is_float(),
                    UnaryOp::Exp | UnaryOp::Tanh => scalar == Scalar::F32,
                    UnaryOp::Not => scalar.is_int() || scalar == Scalar::Bool,
                };
                self.demand(ok, || format!("`{op}` is not defined for {ty}"));
                self.operand(1, *a, ty);
            }
            Expr::Binary(op, a, b) => {
                let ok = match op {
                    BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Min | BinaryOp::Max => scalar != Scalar::Bool,
                    BinaryOp::Rem => scalar == Scalar::U32,
                    BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => !scalar.is_float(),
                    BinaryOp::Shl | BinaryOp::Shr => scalar.is_int(),
                };
                self.demand(ok, || format!("`{op}` is not defined for {ty}"));
                self.operand(1, *a, ty);
                self.operand(2, *b, ty);
            }
            Expr::Fma(a, b, c) => {
                self.demand(scalar.is_float(), || format!("`fma` is not defined for {ty}"));
                for (n, x) in [a, b, c].into_iter().enumerate() {
                    self.operand(n + 1, *x, ty);
                }
            }
            Expr::Cmp(op, a, b) => {
                let Some(operand) = self.value(1, *a) else { return };
                self.operand(2, *b, operand);
                let ordered = !matches!(op, CmpOp::Eq | CmpOp::Ne);
                self.demand(!(ordered && operand.scalar == Scalar::Bool), || format!("`cmp {op}` is not defined for {operand}"));
                let expected = operand.with_scalar(Scalar::Bool);
                self.demand(ty == expected, || format!("the result has type {ty}; expected {expected}"));
            }
            Expr::Select(c, a, b) => {
                let mask = ty.with_scalar(Scalar::Bool);
                let one = Type::scalar(Scalar::Bool);
                match self.kernel.operand_type(*c) {
                    Some(found) => {
                        self.demand(found == mask || found == one, || format!("operand 1 has type {found}; expected {mask} or bool"));
                    }
                    None => self.operand(1, *c, one),
                }
                self.operand(2, *a, ty);
                self.operand(3, *b, ty);
            }
            Expr::Convert(a) => {
                let Some(from) = self.value(1, *a) else { return };
                self.demand(from.lanes == ty.lanes, || format!("{} lanes become {}; expected equal counts", from.lanes, ty.lanes));
                self.demand(from.scalar != Scalar::Bool && scalar != Scalar::Bool, || "`convert` knows no bool; use `select` or `cmp`".into());
            }
            Expr::Bitcast(a) => {
                let Some(from) = self.value(1, *a) else { return };
                self.demand(from.scalar != Scalar::Bool && scalar != Scalar::Bool, || "bool has no bits to reinterpret".into());
                self.demand(from.bytes() == ty.bytes(), || format!("{from} has {} bytes, {ty} has {}; expected equal", from.bytes(), ty.bytes()));
            }
            Expr::Dot4 { acc, a, b, .. } => {
                self.demand(scalar == Scalar::I32, || format!("the result has type {ty}; expected i32 lanes"));
                self.operand(1, *acc, ty);
                let Some(found) = self.value(2, *a) else { return };
                let ok = matches!(found.scalar, Scalar::U8 | Scalar::I8) && found.lanes == ty.lanes * 4;
                self.demand(ok, || format!("operand 2 has type {found}; expected u8x{n} or i8x{n}", n = u32::from(ty.lanes) * 4));
                self.operand(3, *b, found.with_scalar(Scalar::I8));
            }
            Expr::Dot2(a, b) => {
                let Some(found) = self.value(1, *a) else { return };
                let expected = match found.scalar {
                    Scalar::U8 => Some((Scalar::I8, Scalar::I16)),
                    Scalar::I16 => Some((Scalar::I16, Scalar::I32)),
                    _ => None,
                };
                let Some((other, result)) = expected.filter(|_| found.lanes >= 2) else {
                    self.faults.push(format!("operand 1 has type {found}; expected u8 or i16 lanes, at least 2"));
                    return;
                };
                self.operand(2, *b, found.with_scalar(other));
                let expected = Type::vector(result, found.lanes / 2);
                self.demand(ty == expected, || format!("the result has type {ty}; expected {expected}"));
            }
            Expr::Mmla(acc, a, b) => {
                let ok = scalar == Scalar::I32 && ty.lanes.is_multiple_of(4);
                self.demand(ok, || format!("the result has type {ty}; expected i32 lanes, a multiple of four"));
                let bytes = Type::vector(Scalar::I8, ty.lanes.saturating_mul(4));
                self.operand(1, *acc, ty);
                self.operand(2, *a, bytes);
                self.operand(3, *b, bytes);
            }
            Expr::Repeat(a) => {
                let Some(from) = self.value(1, *a) else { return };
                let ok = from.scalar == scalar && from.lanes > 0 && ty.lanes.is_multiple_of(from.lanes);
                self.demand(ok, || format!("{from} cannot be repeated to {ty}"));
            }
            Expr::Extract(a, lane) => {
                let Some(from) = self.value(1, *a) else { return };
                self.demand(*lane < from.lanes, || format!("lane {lane} of {from}, which has {}", from.lanes));
                let expected = Type::scalar(from.scalar);
                self.demand(ty == expected, || format!("the result has type {ty}; expected {expected}"));
            }
            Expr::Shuffle(a, b, lanes) => {
                let Some(from) = self.value(1, *a) else { return };
                self.operand(2, *b, from);
                let expected = from.with_scalar(scalar) == from && usize::from(ty.lanes) == lanes.len();
                self.demand(expected, || format!("{} lanes of {from} give no {ty}", lanes.len()));
                for lane in lanes {
                    self.demand(u32::from(*lane) < 2 * u32::from(from.lanes), || format!("lane {lane} of two {from}"));
                }
            }
            Expr::Reduce(_, a) => {
                let Some(from) = self.value(1, *a) else { return };
                self.demand(from.scalar != Scalar::Bool, || "`reduce` is not defined for bool".into());
                let expected = Type::scalar(from.scalar);
                self.demand(ty == expected, || format!("the result has type {ty}; expected {expected}"));
            }
        }
    }
}

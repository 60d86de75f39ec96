//! How a rewrite writes: it appends pure expressions before the statement it replaces.

use slmc_ir::arena::Arena;
use slmc_ir::kernel::{BinaryOp, CmpOp, Def, Expr, Operand, Scalar, Stmt, Type, UnaryOp, Value, ValueId};

/// The statements that will stand before the rewritten one.
pub(super) struct Steps<'k> {
    values: &'k mut Arena<ValueId, Value>,
    stmts: &'k mut Vec<Stmt>,
}

impl<'k> Steps<'k> {
    /// Appends to `stmts`, defining values of `values`.
    pub(super) fn new(values: &'k mut Arena<ValueId, Value>, stmts: &'k mut Vec<Stmt>) -> Self {
        Self { values, stmts }
    }

    /// The type of an operand, `None` for an immediate.
    pub(super) fn ty(&self, operand: Operand) -> Option<Type> {
        match operand {
            Operand::Value(v) => Some(self.values[v].ty),
            Operand::Imm(_) => None,
        }
    }

    /// The expression that defines an operand, if it is pure.
    pub(super) fn def(&self, operand: Operand) -> Option<&Expr> {
        match operand {
            Operand::Value(v) => match &self.values[v].def {
                Def::Expr(e) => Some(e),
                Def::Stmt => None,
            },
            Operand::Imm(_) => None,
        }
    }

    /// Places an expression.
    pub(super) fn expr(&mut self, ty: Type, expr: Expr) -> Operand {
        let v = self.values.push(Value { ty, def: Def::Expr(expr) });
        self.stmts.push(Stmt::Let(v));
        v.into()
    }

    /// `a op b`.
    pub(super) fn binary(&mut self, ty: Type, op: BinaryOp, a: Operand, b: impl Into<Operand>) -> Operand {
        self.expr(ty, Expr::Binary(op, a, b.into()))
    }

    /// `op a`.
    pub(super) fn unary(&mut self, ty: Type, op: UnaryOp, a: Operand) -> Operand {
        self.expr(ty, Expr::Unary(op, a))
    }

    /// `a · b + c`.
    pub(super) fn fma(&mut self, ty: Type, a: Operand, b: impl Into<Operand>, c: impl Into<Operand>) -> Operand {
        self.expr(ty, Expr::Fma(a, b.into(), c.into()))
    }

    /// `((c0 · x + c1) · x + c2) …`.
    pub(super) fn polynomial(&mut self, ty: Type, x: Operand, coefficients: &[f32]) -> Operand {
        let mut sum: Operand = coefficients.first().copied().unwrap_or_default().into();
        for c in &coefficients[1..] {
            sum = self.fma(ty, x, sum, *c);
        }
        sum
    }

    /// Compares lanes of type `ty`.
    pub(super) fn cmp(&mut self, ty: Type, op: CmpOp, a: Operand, b: impl Into<Operand>) -> Operand {
        self.expr(ty.with_scalar(Scalar::Bool), Expr::Cmp(op, a, b.into()))
    }

    /// Same bits as `ty`.
    pub(super) fn bitcast(&mut self, ty: Type, a: Operand) -> Operand {
        self.expr(ty, Expr::Bitcast(a))
    }

    /// Converts to `ty`.
    pub(super) fn convert(&mut self, ty: Type, a: Operand) -> Operand {
        self.expr(ty, Expr::Convert(a))
    }

    /// A constant in all lanes, where a value is demanded.
    pub(super) fn constant(&mut self, ty: Type, n: i32) -> Operand {
        self.expr(ty, Expr::Binary(BinaryOp::Or, n.into(), 0i32.into()))
    }
}

//! Rules `range`, `wrap`, `divisor` and `shift`: a walk that gives every integer value a [`Form`] and proves what each
//! statement needs. A value that cannot be followed (loads, variables, bit tricks) has the range of its type.
//!
//! Conditions are used inside `if`: comparisons of integers, `and` of conditions in the first block, `or` in the second,
//! `not` in both. A loop whose range is provably empty is not looked into.

use super::expr::{BinaryOp, Builtin, CmpOp, Expr, Imm, Operand, ReduceOp, UnaryOp};
use super::range::{Facts, Form};
use super::stmt::Stmt;
use super::ty::Type;
use super::verify::Faults;
use super::verify_types::int_range;
use super::{BufId, Def, Kernel, Scalar, ValueId};
use crate::arena::Id;
use crate::diag::VerifyError;

/// The faults of a kernel whose structure is sound.
pub(super) fn check_ranges(kernel: &Kernel) -> Vec<VerifyError> {
    let mut facts = Facts::default();
    let b = kernel.bounds;
    let of = |(low, high): (u32, u32)| (i128::from(low), i128::from(high));
    let mut number = |(low, high)| facts.unknown(low, high);
    let (t, p, row) = (number(of(b.t)), number(of(b.p)), number(of(b.row)));
    let grid = kernel.grid.map(|n| number((0, i128::from(n) - 1)));
    let lane = number((0, i128::from(kernel.lanes) - 1));
    for (x, most) in [(&p, b.most_p_plus_t()), (&row, b.most_row_plus_t())] {
        if let Some(f) = x.plus(&t, 1).and_then(|f| f.offset(-i128::from(most))) {
            facts.learn(&f);
        }
    }
    let mut walk = Walk { kernel, faults: Faults::new(kernel), facts, forms: vec![None; kernel.values.len()], t, p, row, grid, lane };
    walk.block(&kernel.body);
    walk.faults.errors
}

struct Walk<'k> {
    kernel: &'k Kernel,
    faults: Faults<'k>,
    facts: Facts,
    /// Of integer values.
    forms: Vec<Option<Form>>,
    t: Form,
    p: Form,
    row: Form,
    grid: [Form; 3],
    lane: Form,
}

fn type_range(scalar: Scalar) -> (i128, i128) {
    let (low, high) = int_range(scalar);
    (i128::from(low), i128::from(high))
}

impl Walk<'_> {
    /// Any number of the type.
    fn any(&mut self, scalar: Scalar) -> Form {
        let (low, high) = type_range(scalar);
        self.facts.unknown(low, high)
    }

    fn form(&mut self, operand: Operand, scalar: Scalar) -> Form {
        match operand {
            Operand::Imm(Imm::Int(n)) => Form::constant(i128::from(n)),
            Operand::Imm(Imm::Float(_)) => self.any(scalar),
            Operand::Value(v) => match &self.forms[v.index()] {
                Some(form) => form.clone(),
                None => self.any(scalar),
            },
        }
    }

    fn range(&self, form: &Form, scalar: Scalar) -> (i128, i128) {
        let (low, high) = type_range(scalar);
        self.facts.within(form, low, high)
    }

    /// `form` if it provably has a value of the type, else any number of the type.
    fn fitted(&mut self, form: Option<Form>, scalar: Scalar) -> Result<Form, Form> {
        let (low, high) = type_range(scalar);
        match form {
            Some(f) if self.facts.at_most(&f, high) && self.facts.at_least(&f, low) => Ok(f),
            _ => Err(self.any(scalar)),
        }
    }

    fn block(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            self.stmt(stmt);
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Let(v) => {
                let kernel = self.kernel;
                if let Def::Expr(expr) = &kernel.values[*v].def {
                    let form = self.expr(*v, kernel.values[*v].ty, expr);
                    self.forms[v.index()] = form;
                }
            }
            Stmt::Load { dst, buf, index } => {
                let ty = self.kernel.values[*dst].ty;
                self.access(format!("{dst} = load {buf}[{index}]"), *buf, *index, ty);
                self.define_any(*dst);
            }
            Stmt::Store { buf, index, value } => {
                let ty = self.kernel.operand_type(*value).unwrap_or(self.kernel.buffers[*buf].elem);
                self.access(format!("store {buf}[{index}]"), *buf, *index, ty);
            }
            Stmt::Get { dst, .. } | Stmt::Subgroup { dst, .. } => self.define_any(*dst),
            Stmt::For { iv, start, end, step, body, .. } => self.loop_(*iv, *start, *end, *step, body),
            Stmt::If { cond, then, otherwise } => {
                for (block, holds) in [(then, true), (otherwise, false)] {
                    let scope = self.facts.enter();
                    self.suppose(*cond, holds);
                    self.block(block);
                    self.facts.leave(scope);
                }
            }
            Stmt::Prefetch { .. } | Stmt::Var { .. } | Stmt::Set { .. } | Stmt::Barrier => {}
        }
    }

    fn define_any(&mut self, v: ValueId) {
        let scalar = self.kernel.values[v].ty.scalar;
        self.forms[v.index()] = if scalar.is_int() { Some(self.any(scalar)) } else { None };
    }

    fn access(&mut self, at: String, buf: BufId, index: Operand, ty: Type) {
        let b = &self.kernel.buffers[buf];
        let (elem, size) = (i128::from(b.elem.bytes()), i128::from(ty.bytes()));
        let bytes = i128::from(b.len) * elem;
        let limit = (bytes - size).div_euclid(elem);
        let form = self.form(index, Scalar::U32);
        if !self.facts.at_most(&form, limit) {
            let (_, high) = self.range(&form, Scalar::U32);
            let message = match limit {
                0.. => {
                    format!("the index may be {high}; {buf} %{} of {} elements takes a {ty} up to index {limit}; clamp or guard it", b.name, b.len)
                }
                _ => format!("{buf} %{} of {bytes} bytes holds no {ty}", b.name),
            };
            self.faults.report("range", at, message);
        }
    }

    fn loop_(&mut self, iv: ValueId, start: Operand, end: Operand, step: u32, body: &[Stmt]) {
        let (start, end) = (self.form(start, Scalar::U32), self.form(end, Scalar::U32));
        let step = i128::from(step);
        // From start to the last value that an iteration can have.
        let span = end.plus(&start, -1).and_then(|f| f.offset(-1));
        let most = span.as_ref().and_then(|f| self.facts.most(f)).unwrap_or(i128::from(u32::MAX)).min(i128::from(u32::MAX));
        if most < 0 {
            return;
        }
        let scope = self.facts.enter();
        let count = self.facts.unknown(0, most / step);
        let form = start.plus(&count, step);
        if let Some(form) = &form
            && let Some(fact) = form.plus(&end, -1).and_then(|f| f.offset(1))
        {
            self.facts.assume(&fact);
        }
        self.forms[iv.index()] = Some(form.unwrap_or_else(|| self.any(Scalar::U32)));
        self.block(body);
        self.facts.leave(scope);
    }

    /// Learns what `cond` says if it `holds`, for the scope that is open.
    fn suppose(&mut self, cond: Operand, holds: bool) {
        let Operand::Value(v) = cond else { return };
        let kernel = self.kernel;
        let Def::Expr(expr) = &kernel.values[v].def else { return };
        match expr {
            Expr::Unary(UnaryOp::Not, a) => self.suppose(*a, !holds),
            Expr::Binary(BinaryOp::And, a, b) if holds => {
                self.suppose(*a, true);
                self.suppose(*b, true);
            }
            Expr::Binary(BinaryOp::Or, a, b) if !holds => {
                self.suppose(*a, false);
                self.suppose(*b, false);
            }
            Expr::Cmp(op, a, b) => {
                let Some(ty) = kernel.operand_type(*a).filter(|t| t.scalar.is_int() && t.lanes == 1) else { return };
                let (a, b) = (self.form(*a, ty.scalar), self.form(*b, ty.scalar));
                let op = if holds { *op } else { negated(*op) };
                let mut below = |a: &Form, b: &Form, by: i128| {
                    if let Some(f) = a.plus(b, -1).and_then(|f| f.offset(by)) {
                        self.facts.assume(&f);
                    }
                };
                match op {
                    CmpOp::Lt => below(&a, &b, 1),
                    CmpOp::Le => below(&a, &b, 0),
                    CmpOp::Gt => below(&b, &a, 1),
                    CmpOp::Ge => below(&b, &a, 0),
                    CmpOp::Eq => {
                        below(&a, &b, 0);
                        below(&b, &a, 0);
                    }
                    CmpOp::Ne => {}
                }
            }
            _ => {}
        }
    }

    /// The form of an integer result, `None` of others.
    fn expr(&mut self, v: ValueId, ty: Type, expr: &Expr) -> Option<Form> {
        let scalar = ty.scalar;
        if let Expr::Reduce(ReduceOp::Add, a) = expr
            && scalar == Scalar::U32
        {
            let lanes = self.kernel.operand_type(*a).map_or(1, |t| t.lanes);
            let form = self.form(*a, scalar);
            let (_, high) = self.range(&form, scalar);
            let sum = high * i128::from(lanes);
            if sum > i128::from(u32::MAX) {
                self.faults.report("wrap", v, format!("the sum of {lanes} lanes may be {sum}, which wraps"));
            }
            return Some(self.facts.unknown(0, sum.min(i128::from(u32::MAX))));
        }
        if !scalar.is_int() {
            return None;
        }
        Some(match expr {
            Expr::Builtin(b) => match b {
                Builtin::T => self.t.clone(),
                Builtin::P => self.p.clone(),
                Builtin::Row => self.row.clone(),
                Builtin::Grid(axis) => self.grid[usize::from(*axis).min(2)].clone(),
                Builtin::Lane => self.lane.clone(),
                Builtin::Subgroup | Builtin::SubgroupLane => self.facts.unknown(0, i128::from(self.kernel.lanes) - 1),
                Builtin::Subgroups => self.facts.unknown(1, i128::from(self.kernel.lanes)),
            },
            Expr::Binary(op, a, b) => self.binary(v, *op, *a, *b, scalar),
            Expr::Unary(op, a) => {
                let a = self.form(*a, scalar);
                let form = match op {
                    UnaryOp::Neg => a.times(-1),
                    UnaryOp::Abs if self.facts.at_least(&a, 0) => Some(a),
                    UnaryOp::Not => a.times(-1).and_then(|f| f.offset(if scalar.is_signed() { -1 } else { type_range(scalar).1 })),
                    _ => None,
                };
                self.fitted(form, scalar).unwrap_or_else(|any| any)
            }
            Expr::Select(_, a, b) => {
                let (a, b) = (self.form(*a, scalar), self.form(*b, scalar));
                let ((al, ah), (bl, bh)) = (self.range(&a, scalar), self.range(&b, scalar));
                self.facts.unknown(al.min(bl), ah.max(bh))
            }
            Expr::Convert(a) => match self.kernel.operand_type(*a) {
                Some(from) if from.scalar.is_int() => {
                    let a = self.form(*a, from.scalar);
                    self.fitted(Some(a), scalar).unwrap_or_else(|any| any)
                }
                _ => self.any(scalar),
            },
            // One number in all lanes stays one; otherwise only the interval survives a change of lanes.
            Expr::Repeat(a) if self.kernel.operand_type(*a).is_some_and(|t| t.lanes == 1) => self.form(*a, scalar),
            Expr::Repeat(a) | Expr::Extract(a, _) | Expr::Reduce(ReduceOp::Max | ReduceOp::Min, a) => {
                let a = self.form(*a, scalar);
                let (low, high) = self.range(&a, scalar);
                self.facts.unknown(low, high)
            }
            Expr::Shuffle(a, b, _) => {
                let (a, b) = (self.form(*a, scalar), self.form(*b, scalar));
                let ((al, ah), (bl, bh)) = (self.range(&a, scalar), self.range(&b, scalar));
                self.facts.unknown(al.min(bl), ah.max(bh))
            }
            Expr::Bitcast(_)
            | Expr::Dot4 { .. }
            | Expr::Dot2(..)
            | Expr::Mmla(..)
            | Expr::Reduce(ReduceOp::Add, _)
            | Expr::Fma(..)
            | Expr::Cmp(..) => self.any(scalar),
        })
    }

    fn binary(&mut self, v: ValueId, op: BinaryOp, a: Operand, b: Operand, scalar: Scalar) -> Form {
        let (a, b) = (self.form(a, scalar), self.form(b, scalar));
        let (low, high) = type_range(scalar);
        match op {
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul => {
                let form = match op {
                    BinaryOp::Add => a.plus(&b, 1),
                    BinaryOp::Sub => a.plus(&b, -1),
                    _ => self.product(&a, &b, scalar),
                };
                let bounds = form.as_ref().map(|f| (self.facts.least(f), self.facts.most(f)));
                self.fitted(form, scalar).unwrap_or_else(|any| {
                    if scalar == Scalar::U32 {
                        let what = match bounds {
                            Some((Some(low), _)) if low < 0 => format!("the result may be {low}"),
                            Some((_, Some(high))) => format!("the result may be {high}"),
                            _ => "the result has no bound".into(),
                        };
                        self.faults.report("wrap", v, format!("`{op}`: {what}, which wraps; clamp an operand or guard it"));
                    }
                    any
                })
            }
            BinaryOp::Div | BinaryOp::Rem => {
                if !(self.facts.at_least(&b, 1) || self.facts.at_most(&b, -1)) {
                    self.faults.report("divisor", v, format!("the divisor of `{op}` may be 0; take `max` with 1"));
                }
                match b.as_constant() {
                    Some(d @ 1..) if self.facts.at_least(&a, 0) => {
                        let q = self.facts.quotient(&a, d);
                        if op == BinaryOp::Div {
                            return q;
                        }
                        a.plus(&q, -d).unwrap_or_else(|| self.facts.unknown(0, d - 1))
                    }
                    _ if scalar.is_signed() => self.any(scalar),
                    _ => {
                        let ((al, ah), (bl, bh)) = (self.range(&a, scalar), self.range(&b, scalar));
                        match op {
                            BinaryOp::Div => self.facts.unknown(al / bh.max(1), ah / bl.max(1)),
                            _ => self.facts.unknown(0, ah.min((bh - 1).max(0))),
                        }
                    }
                }
            }
            BinaryOp::Min => self.facts.min(&a, &b, low, high),
            BinaryOp::Max => self.facts.max(&a, &b, low, high),
            BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => {
                let ((al, ah), (bl, bh)) = (self.range(&a, scalar), self.range(&b, scalar));
                let bits = |x: i128| (1i128 << (128 - x.leading_zeros())) - 1;
                match op {
                    BinaryOp::And if al >= 0 && bl >= 0 => self.facts.unknown(0, ah.min(bh)),
                    BinaryOp::And if al >= 0 => self.facts.unknown(0, ah),
                    BinaryOp::And if bl >= 0 => self.facts.unknown(0, bh),
                    BinaryOp::Or if al >= 0 && bl >= 0 => self.facts.unknown(al.max(bl), bits(ah).max(bits(bh))),
                    BinaryOp::Xor if al >= 0 && bl >= 0 => self.facts.unknown(0, bits(ah).max(bits(bh))),
                    _ => self.any(scalar),
                }
            }
            BinaryOp::Shl | BinaryOp::Shr => {
                let bits = i128::from(scalar.bytes()) * 8;
                if !(self.facts.at_least(&b, 0) && self.facts.at_most(&b, bits - 1)) {
                    self.faults.report("shift", v, format!("the amount of `{op}` may not lie in 0..{bits}; mask it"));
                }
                let ((al, ah), (bl, bh)) = (self.range(&a, scalar), self.range(&b, scalar));
                match (op, b.as_constant()) {
                    (BinaryOp::Shl, Some(n @ 0..32)) => {
                        let form = a.times(1 << n);
                        self.fitted(form, scalar).unwrap_or_else(|any| any)
                    }
                    (BinaryOp::Shr, Some(n @ 0..32)) if al >= 0 => self.facts.quotient(&a, 1 << n),
                    (BinaryOp::Shr, _) if al >= 0 => self.facts.unknown(al >> bh.clamp(0, 31), ah >> bl.clamp(0, 31)),
                    _ => self.any(scalar),
                }
            }
        }
    }

    /// The product as a form: linear if a factor is a number, else an interval.
    fn product(&mut self, a: &Form, b: &Form, scalar: Scalar) -> Option<Form> {
        if let Some(k) = b.as_constant() {
            return a.times(k);
        }
        if let Some(k) = a.as_constant() {
            return b.times(k);
        }
        let ((al, ah), (bl, bh)) = (self.range(a, scalar), self.range(b, scalar));
        let corners = [al * bl, al * bh, ah * bl, ah * bh];
        Some(self.facts.unknown(*corners.iter().min()?, *corners.iter().max()?))
    }
}

fn negated(op: CmpOp) -> CmpOp {
    match op {
        CmpOp::Eq => CmpOp::Ne,
        CmpOp::Ne => CmpOp::Eq,
        CmpOp::Lt => CmpOp::Ge,
        CmpOp::Le => CmpOp::Gt,
        CmpOp::Gt => CmpOp::Le,
        CmpOp::Ge => CmpOp::Lt,
    }
}

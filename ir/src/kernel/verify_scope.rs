//! Rules `signature`, `scope`, `once`, `access` and the types of statements: one walk over the statement tree.

use std::collections::BTreeSet;

use super::expr::Operand;
use super::stmt::Stmt;
use super::ty::{Scalar, Type};
use super::verify::Faults;
use super::verify_types::{expr_faults, immediate_fault, width_fault};
use super::{Access, BufId, Def, Kernel, Space, ValueId, VarId};
use crate::arena::Id;
use crate::diag::VerifyError;

/// The faults of a kernel against the rules that need no ranges.
pub(super) fn check_structure(kernel: &Kernel) -> Vec<VerifyError> {
    let mut walk = Walk {
        kernel,
        faults: Faults::new(kernel),
        visible: vec![false; kernel.values.len()],
        placed: vec![false; kernel.values.len()],
        var_visible: vec![false; kernel.vars.len()],
        var_placed: vec![false; kernel.vars.len()],
    };
    walk.signature();
    walk.block(&kernel.body);
    walk.leftovers();
    let mut errors = walk.faults.errors;
    if errors.is_empty() {
        errors = super::verify_uniform::check_uniform(kernel);
    }
    errors
}

/// Invocations of a workgroup, at most.
const MOST_LANES: u32 = 1024;

/// Bytes of private and workgroup arrays together, at most: they live on a thread's stack.
const MOST_LOCAL: u64 = 1 << 20;

struct Walk<'k> {
    kernel: &'k Kernel,
    faults: Faults<'k>,
    visible: Vec<bool>,
    placed: Vec<bool>,
    var_visible: Vec<bool>,
    var_placed: Vec<bool>,
}

/// Whether `name` can follow `@` or `%` in the text form.
pub(crate) fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_') && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Walk<'_> {
    fn signature(&mut self) {
        let k = self.kernel;
        let mut fault = |at: &str, message: String| self.faults.report("signature", at, message);
        if !is_identifier(&k.name) {
            fault("name", format!("`{}` is not an identifier (letters, digits, `_`)", k.name));
        }
        if k.grid.contains(&0) {
            fault("grid", format!("{:?} has an axis of 0 tiles; at least 1", k.grid));
        }
        if k.lanes == 0 || k.lanes > MOST_LANES {
            fault("lanes", format!("{} invocations; 1 to {MOST_LANES}", k.lanes));
        }
        let local = k.buffers.iter().filter(|(_, b)| b.space != Space::Param);
        let local = local.fold(0u64, |sum, (_, b)| sum.saturating_add(u64::from(b.len) * u64::from(b.elem.bytes())));
        if local > MOST_LOCAL {
            fault("buffers", format!("private and workgroup arrays take {local} bytes; at most {MOST_LOCAL}, bind scratch memory instead"));
        }
        for (name, (low, high), least) in [("t", k.bounds.t, 1), ("p", k.bounds.p, 0), ("row", k.bounds.row, 0)] {
            if low > high || low < least {
                fault(name, format!("bounds {low}..{high}; expected {least} <= least <= most"));
            }
            if high > u32::MAX / 2 {
                fault(name, format!("most is {high}; expected at most {}", u32::MAX / 2));
            }
        }
        let mut names = BTreeSet::new();
        let mut params_ended = false;
        for (id, b) in k.buffers.iter() {
            let at = format!("{id} %{}", b.name);
            if !is_identifier(&b.name) {
                fault(&at, "the buffer's name is not an identifier (letters, digits, `_`)".into());
            }
            if !names.insert(b.name.as_str()) {
                fault(&at, "another buffer has this name; rename one".into());
            }
            params_ended |= b.space != Space::Param;
            if params_ended && b.space == Space::Param {
                fault(&at, "a parameter after private or workgroup memory; parameters come first".into());
            }
            if b.space == Space::Workgroup && k.lanes == 1 {
                fault(&at, "workgroup memory in a kernel of one lane; make it private".into());
            }
            if b.elem.scalar == Scalar::Bool {
                fault(&at, format!("elements of {} have no memory form; store integers", b.elem));
            }
            if let Some(m) = width_fault(b.elem) {
                fault(&at, m);
            }
            if !b.align.is_power_of_two() {
                fault(&at, format!("alignment {} is no power of two", b.align));
            }
        }
        for (id, v) in k.values.iter() {
            if let Some(m) = width_fault(v.ty) {
                self.faults.report("type", id, m);
            }
        }
        for (id, ty) in k.vars.iter() {
            if let Some(m) = width_fault(*ty) {
                self.faults.report("type", id, m);
            }
        }
    }

    fn leftovers(&mut self) {
        for v in self.kernel.values.ids() {
            if !self.placed[v.index()] {
                self.faults.report("once", v, "no statement defines this value; drop it by renumbering or place it");
            }
        }
        for x in self.kernel.vars.ids() {
            if !self.var_placed[x.index()] {
                self.faults.report("once", x, "no statement declares this variable; drop it by renumbering or declare it");
            }
        }
    }

    fn block(&mut self, stmts: &[Stmt]) {
        let (mut values, mut vars) = (Vec::new(), Vec::new());
        for stmt in stmts {
            self.stmt(stmt, &mut values, &mut vars);
        }
        for v in values {
            self.visible[ValueId::index(v)] = false;
        }
        for x in vars {
            self.var_visible[VarId::index(x)] = false;
        }
    }

    /// Marks `v` as defined by a statement; `pure` if by `let`.
    fn define(&mut self, v: ValueId, pure: bool, values: &mut Vec<ValueId>) -> bool {
        let Some(value) = self.kernel.values.get(v) else {
            self.faults.report("scope", v, "no such value");
            return false;
        };
        match (&value.def, pure) {
            (Def::Expr(_), false) => self.faults.report("once", v, "a statement defines it, but it also has an expression"),
            (Def::Stmt, true) => self.faults.report("once", v, "placed by `let`, but it has no expression"),
            _ => {}
        }
        if self.placed[v.index()] {
            self.faults.report("once", v, "defined by more than one statement");
        }
        self.placed[v.index()] = true;
        self.visible[v.index()] = true;
        values.push(v);
        true
    }

    /// Whether the operand exists and is visible; reports it otherwise.
    fn seen(&mut self, at: &str, operand: Operand) -> bool {
        let Operand::Value(v) = operand else { return true };
        match self.visible.get(v.index()) {
            None => self.faults.report("scope", at, format!("{v} does not exist")),
            Some(false) => self.faults.report("scope", at, format!("{v} is not visible here; define it before, in this block or one around it")),
            Some(true) => return true,
        }
        // A value that exists has a type that can still be checked.
        v.index() < self.visible.len()
    }

    fn demand(&mut self, at: &str, operand: Operand, ty: Type) {
        if !self.seen(at, operand) {
            return;
        }
        match operand {
            Operand::Imm(imm) => {
                if let Some(m) = immediate_fault(imm, ty) {
                    self.faults.report("type", at, m);
                }
            }
            Operand::Value(v) => {
                let found = self.kernel.values[v].ty;
                if found != ty {
                    self.faults.report("type", at, format!("{v} has type {found}; expected {ty}"));
                }
            }
        }
    }

    fn buffer(&mut self, at: &str, buf: BufId, write: bool) {
        let Some(b) = self.kernel.buffers.get(buf) else {
            self.faults.report("scope", at, format!("{buf} does not exist"));
            return;
        };
        let wanted = if write { Access::Write } else { Access::Read };
        if b.access != wanted && b.access != Access::ReadWrite {
            let (verb, has) = if write { ("stores to", "read") } else { ("loads from", "write") };
            self.faults.report("access", at, format!("{verb} {buf}, whose access is `{has}`"));
        }
    }

    fn memory_form(&mut self, at: &str, ty: Type) {
        if ty.scalar == Scalar::Bool {
            self.faults.report("type", at, format!("{ty} has no memory form; convert by `select` to integers"));
        }
    }

    fn variable(&mut self, at: &str, var: VarId) -> Option<Type> {
        match self.var_visible.get(var.index()) {
            None => self.faults.report("scope", at, format!("{var} does not exist")),
            Some(false) => self.faults.report("scope", at, format!("{var} is not declared here; declare it before, in this block or one around it")),
            Some(true) => {}
        }
        self.kernel.vars.get(var).copied()
    }

    fn stmt(&mut self, stmt: &Stmt, values: &mut Vec<ValueId>, vars: &mut Vec<VarId>) {
        match stmt {
            Stmt::Let(v) => {
                if let Some(Def::Expr(expr)) = self.kernel.values.get(*v).map(|v| &v.def) {
                    let at = v.to_string();
                    let exist = expr.operands().into_iter().filter(|o| !self.seen(&at, *o)).count() == 0;
                    if exist {
                        for m in expr_faults(self.kernel, *v, expr) {
                            self.faults.report("type", v, m);
                        }
                    }
                    if let super::Expr::Builtin(super::Builtin::Grid(axis @ 3..)) = expr {
                        self.faults.report("type", v, format!("the grid has no axis {axis}; 0, 1 or 2"));
                    }
                }
                self.define(*v, true, values);
            }
            Stmt::Load { dst, buf, index } => {
                let at = format!("{dst} = load {buf}");
                self.demand(&at, *index, Type::INDEX);
                self.buffer(&at, *buf, false);
                if self.define(*dst, false, values) {
                    self.memory_form(&at, self.kernel.values[*dst].ty);
                }
            }
            Stmt::Store { buf, index, value } => {
                let at = format!("store {buf}");
                self.demand(&at, *index, Type::INDEX);
                self.buffer(&at, *buf, true);
                if self.seen(&at, *value) {
                    match (*value, self.kernel.buffers.get(*buf)) {
                        (Operand::Value(v), _) => self.memory_form(&at, self.kernel.values[v].ty),
                        (Operand::Imm(_), Some(b)) => self.demand(&at, *value, b.elem),
                        (Operand::Imm(_), None) => {}
                    }
                }
            }
            Stmt::Prefetch { buf, index } => {
                let at = format!("prefetch {buf}");
                self.demand(&at, *index, Type::INDEX);
                if self.kernel.buffers.get(*buf).is_none() {
                    self.faults.report("scope", at, format!("{buf} does not exist"));
                }
            }
            Stmt::Var { var, init } => {
                let at = format!("{var} = var");
                match self.kernel.vars.get(*var) {
                    None => self.faults.report("scope", &at, "no such variable"),
                    Some(ty) => {
                        self.demand(&at, *init, *ty);
                        if self.var_placed[var.index()] {
                            self.faults.report("once", &at, "declared by more than one statement");
                        }
                        self.var_placed[var.index()] = true;
                        self.var_visible[var.index()] = true;
                        vars.push(*var);
                    }
                }
            }
            Stmt::Get { dst, var } => {
                let at = format!("{dst} = get {var}");
                let ty = self.variable(&at, *var);
                if self.define(*dst, false, values) {
                    let found = self.kernel.values[*dst].ty;
                    if let Some(ty) = ty.filter(|ty| *ty != found) {
                        self.faults.report("type", at, format!("the result has type {found}, the variable {ty}"));
                    }
                }
            }
            Stmt::Set { var, value } => {
                let at = format!("set {var}");
                if let Some(ty) = self.variable(&at, *var) {
                    self.demand(&at, *value, ty);
                }
            }
            Stmt::For { iv, start, end, step, unroll, body } => {
                let at = format!("for {iv}");
                self.demand(&at, *start, Type::INDEX);
                self.demand(&at, *end, Type::INDEX);
                if *step == 0 || *unroll == 0 {
                    self.faults.report("type", &at, format!("step {step}, unroll {unroll}; both are at least 1"));
                }
                let mut inner = Vec::new();
                if self.define(*iv, false, &mut inner) && self.kernel.values[*iv].ty != Type::INDEX {
                    self.faults.report("type", &at, format!("the loop variable has type {}; expected u32", self.kernel.values[*iv].ty));
                }
                self.block(body);
                for v in inner {
                    self.visible[ValueId::index(v)] = false;
                }
            }
            Stmt::If { cond, then, otherwise } => {
                self.demand("if", *cond, Type::scalar(Scalar::Bool));
                self.block(then);
                self.block(otherwise);
            }
            Stmt::Subgroup { dst, op, value } => {
                let at = format!("{dst} = subgroup {op}");
                match self.kernel.values.get(*dst).map(|v| v.ty) {
                    Some(ty) => {
                        self.demand(&at, *value, ty);
                        if !matches!((ty.scalar, ty.lanes), (Scalar::F32 | Scalar::I32 | Scalar::U32, 1)) {
                            self.faults.report("type", &at, format!("the result has type {ty}; expected f32, i32 or u32"));
                        }
                    }
                    None => drop(self.seen(&at, *value)),
                }
                self.define(*dst, false, values);
            }
            Stmt::Barrier => {}
        }
    }
}

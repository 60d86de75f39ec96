//! Canonical numbering: values and variables in the order in which the body defines them, dead ones dropped.

use super::expr::Operand;
use super::stmt::Stmt;
use super::{Def, Kernel, Value, ValueId, VarId};
use crate::arena::{Arena, Id};
use crate::kernel::Type;

impl Kernel {
    /// Numbers values and variables in the order in which the body defines them. Pure values, loads and reads of variables
    /// that nothing uses are dropped with their statements; stores, assignments, loops and conditions stay. A reference to
    /// something that no statement defines is left dangling, for the verifier to report.
    pub fn renumber(&mut self) {
        let mut used = vec![false; self.values.len()];
        mark_block(self, &self.body, &mut used);
        let mut body = std::mem::take(&mut self.body);
        drop_dead(&mut body, &used);
        let mut map =
            Map { old: self, values: vec![None; used.len()], vars: vec![None; self.vars.len()], new_values: Arena::new(), new_vars: Arena::new() };
        map.block(&mut body);
        let Map { new_values, new_vars, .. } = map;
        self.values = new_values;
        self.vars = new_vars;
        self.body = body;
    }
}

/// Marks what the statements need, last statement first, so that a use is seen before its definition.
fn mark_block(kernel: &Kernel, stmts: &[Stmt], used: &mut [bool]) {
    let mark = |used: &mut [bool], operand: &Operand| {
        if let Operand::Value(v) = operand
            && let Some(u) = used.get_mut(v.index())
        {
            *u = true;
        }
    };
    for stmt in stmts.iter().rev() {
        match stmt {
            Stmt::Let(v) => {
                if used.get(v.index()) == Some(&true)
                    && let Def::Expr(expr) = &kernel.values[*v].def
                {
                    for operand in expr.operands() {
                        mark(used, &operand);
                    }
                }
            }
            Stmt::Load { dst, index, .. } => {
                if used.get(dst.index()) == Some(&true) {
                    mark(used, index);
                }
            }
            Stmt::Store { index, value, .. } => {
                mark(used, index);
                mark(used, value);
            }
            Stmt::Prefetch { index, .. } => mark(used, index),
            Stmt::Var { init: value, .. } | Stmt::Set { value, .. } => mark(used, value),
            Stmt::Subgroup { dst, value, .. } => {
                if used.get(dst.index()) == Some(&true) {
                    mark(used, value);
                }
            }
            Stmt::Get { .. } | Stmt::Barrier => {}
            Stmt::For { start, end, body, .. } => {
                mark_block(kernel, body, used);
                mark(used, start);
                mark(used, end);
            }
            Stmt::If { cond, then, otherwise } => {
                mark_block(kernel, otherwise, used);
                mark_block(kernel, then, used);
                mark(used, cond);
            }
        }
    }
}

fn drop_dead(stmts: &mut Vec<Stmt>, used: &[bool]) {
    stmts.retain_mut(|stmt| match stmt {
        Stmt::Let(v) | Stmt::Load { dst: v, .. } | Stmt::Get { dst: v, .. } | Stmt::Subgroup { dst: v, .. } => used.get(v.index()) != Some(&false),
        Stmt::For { body, .. } => {
            drop_dead(body, used);
            true
        }
        Stmt::If { then, otherwise, .. } => {
            drop_dead(then, used);
            drop_dead(otherwise, used);
            true
        }
        Stmt::Store { .. } | Stmt::Prefetch { .. } | Stmt::Var { .. } | Stmt::Set { .. } | Stmt::Barrier => true,
    });
}

struct Map<'k> {
    old: &'k Kernel,
    values: Vec<Option<ValueId>>,
    vars: Vec<Option<VarId>>,
    new_values: Arena<ValueId, Value>,
    new_vars: Arena<VarId, Type>,
}

/// The id of an entity that does not exist, whatever the numbering.
fn dangling<I: Id>() -> I {
    I::new(u32::MAX as usize)
}

impl Map<'_> {
    fn operand(&self, operand: &mut Operand) {
        if let Operand::Value(v) = operand {
            *v = self.values.get(v.index()).copied().flatten().unwrap_or_else(dangling);
        }
    }

    fn define(&mut self, v: &mut ValueId) {
        let Some(value) = self.old.values.get(*v) else {
            *v = dangling();
            return;
        };
        let mut value = value.clone();
        if let Def::Expr(expr) = &mut value.def {
            expr.map_operands(|o| self.operand(o));
        }
        let new = self.new_values.push(value);
        self.values[v.index()] = Some(new);
        *v = new;
    }

    fn var(&self, var: &mut VarId) {
        *var = self.vars.get(var.index()).copied().flatten().unwrap_or_else(dangling);
    }

    fn block(&mut self, stmts: &mut [Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::Let(v) => self.define(v),
                Stmt::Load { dst, index, .. } => {
                    self.operand(index);
                    self.define(dst);
                }
                Stmt::Store { index, value, .. } => {
                    self.operand(index);
                    self.operand(value);
                }
                Stmt::Prefetch { index, .. } => self.operand(index),
                Stmt::Var { var, init } => {
                    self.operand(init);
                    match self.old.vars.get(*var) {
                        Some(ty) => {
                            let new = self.new_vars.push(*ty);
                            self.vars[var.index()] = Some(new);
                            *var = new;
                        }
                        None => *var = dangling(),
                    }
                }
                Stmt::Get { dst, var } => {
                    self.var(var);
                    self.define(dst);
                }
                Stmt::Set { var, value } => {
                    self.operand(value);
                    self.var(var);
                }
                Stmt::For { iv, start, end, body, .. } => {
                    self.operand(start);
                    self.operand(end);
                    self.define(iv);
                    self.block(body);
                }
                Stmt::If { cond, then, otherwise } => {
                    self.operand(cond);
                    self.block(then);
                    self.block(otherwise);
                }
                Stmt::Subgroup { dst, value, .. } => {
                    self.operand(value);
                    self.define(dst);
                }
                Stmt::Barrier => {}
            }
        }
    }
}

//! Rule `uniform`: `barrier` and `subgroup` are reached by all lanes of a tile or by none.
//!
//! A value is uniform if all lanes of a tile compute the same. What differs between lanes is the lane's index and
//! its place among subgroups, what a subgroup reduced, what is read from memory that a lane may have written (private, workgroup, written parameters), and everything computed from
//! these or assigned under a condition that is not uniform. The walk is repeated until no variable changes.

use super::expr::{Builtin, Expr, Operand};
use super::stmt::Stmt;
use super::verify::Faults;
use super::{Access, Def, Kernel, Space};
use crate::arena::Id;
use crate::diag::VerifyError;

/// The barriers in flow that is not uniform; the kernel's structure is sound.
pub(super) fn check_uniform(kernel: &Kernel) -> Vec<VerifyError> {
    if kernel.lanes == 1 {
        return Vec::new();
    }
    let mut walk = Walk {
        kernel,
        faults: Faults::new(kernel),
        varying: vec![false; kernel.values.len()],
        var_varying: vec![false; kernel.vars.len()],
        changed: true,
    };
    while walk.changed {
        walk.changed = false;
        walk.faults.errors.clear();
        walk.block(&kernel.body, None);
    }
    walk.faults.errors
}

struct Walk<'k> {
    kernel: &'k Kernel,
    faults: Faults<'k>,
    varying: Vec<bool>,
    var_varying: Vec<bool>,
    changed: bool,
}

impl Walk<'_> {
    fn varies(&self, operand: Operand) -> bool {
        matches!(operand, Operand::Value(v) if self.varying[v.index()])
    }

    fn collective(&mut self, at: &str, under: Option<&str>) {
        if let Some(under) = under {
            let message = format!("stands in {under}, which lanes of one tile may decide differently; move it out");
            self.faults.report("uniform", at, message);
        }
    }

    /// `under`: the outermost condition around, that is not uniform.
    fn block(&mut self, stmts: &[Stmt], under: Option<&str>) {
        for stmt in stmts {
            match stmt {
                Stmt::Let(v) => {
                    if let Def::Expr(expr) = &self.kernel.values[*v].def {
                        let lane = matches!(expr, Expr::Builtin(Builtin::Lane | Builtin::Subgroup | Builtin::SubgroupLane));
                        self.varying[v.index()] = lane || expr.operands().into_iter().any(|o| self.varies(o));
                    }
                }
                Stmt::Load { dst, buf, index } => {
                    let b = &self.kernel.buffers[*buf];
                    let shared = b.space == Space::Param && b.access == Access::Read;
                    self.varying[dst.index()] = !shared || self.varies(*index);
                }
                Stmt::Get { dst, var } => self.varying[dst.index()] = self.var_varying[var.index()],
                Stmt::Var { var, init: value } | Stmt::Set { var, value } => {
                    let varying = under.is_some() || self.varies(*value);
                    if varying && !self.var_varying[var.index()] {
                        self.var_varying[var.index()] = true;
                        self.changed = true;
                    }
                }
                Stmt::For { iv, start, end, body, .. } => {
                    let varying = self.varies(*start) || self.varies(*end);
                    self.varying[iv.index()] = varying;
                    let name = format!("the loop of {iv}");
                    self.block(body, under.or(varying.then_some(name.as_str())));
                }
                Stmt::If { cond, then, otherwise } => {
                    let name = match cond {
                        Operand::Value(v) if self.varying[v.index()] => Some(format!("`if {v}`")),
                        Operand::Value(_) | Operand::Imm(_) => None,
                    };
                    let under = under.or(name.as_deref());
                    self.block(then, under);
                    self.block(otherwise, under);
                }
                Stmt::Subgroup { dst, op, .. } => {
                    self.varying[dst.index()] = true;
                    self.collective(&format!("{dst} = subgroup {op}"), under);
                }
                Stmt::Barrier => self.collective("barrier", under),
                Stmt::Store { .. } | Stmt::Prefetch { .. } => {}
            }
        }
    }
}

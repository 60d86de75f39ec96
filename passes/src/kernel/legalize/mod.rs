//! Legalization: what a target lacks becomes what it has, one rewrite per file.
//!
//! - `exp` and `tanh` become polynomials on every target, the same on all.
//! - `dot4` becomes what the target's [`DotKind`] offers: nothing to do for u8·i8 on `U8I8`, an offset for i8·i8 there, sums of
//!   pairs on `Pairs`, widening multiplies on `None`. For `I8I8` and `Mmla`, unsigned operands of at most 127 are taken as signed.
//! - `convert` from and to 16-bit floats becomes integer arithmetic where [`Target::half_convert`] is not set.
//!
//! Integer results stay the same; floats within what `super::exp` and `super::tanh` state. A legal module is unchanged
//! but for its numbering, which is made canonical.

mod dot_offset;
mod dot_pairs;
mod dot_widen;
mod exp;
mod halves;
mod steps;
mod tanh;

use slmc_ir::arena::{Arena, Id};
use slmc_ir::kernel::{Def, Expr, Kernel, KernelModule, Operand, Scalar, Stmt, Type, UnaryOp, Value, ValueId};
use slmc_ir::plan::Program;
use slmc_ir::target::{DotKind, Target};

use crate::manager::{Changed, OptionError, Options, Pass, PassCx, PassError, PassInfo};
use steps::Steps;

/// Row of the pass list.
pub static INFO: PassInfo<Program> = PassInfo { name: "legalize", summary: "take apart what the target lacks", options: &[], build };

struct Legalize;

fn build(options: &Options) -> Result<Box<dyn Pass<Program>>, OptionError> {
    options.reader(INFO.name).finish(Box::new(Legalize))
}

impl Pass<Program> for Legalize {
    fn info(&self) -> &'static PassInfo<Program> {
        &INFO
    }

    fn run(&self, m: &mut Program, cx: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let Some(target) = cx.target else {
            return Err(PassError::Unsupported(vec!["the result depends on the target, and none is given; name one with --target".to_owned()]));
        };
        let before = m.kernels.clone();
        legalize(&mut m.kernels, target);
        Ok(Changed::when(m.kernels != before))
    }
}

/// Makes every kernel of a well-typed module legal for `target`.
pub fn legalize(module: &mut KernelModule, target: &Target) {
    for (_, kernel) in module.kernels.iter_mut() {
        legalize_kernel(kernel, target);
    }
}

fn legalize_kernel(kernel: &mut Kernel, target: &Target) {
    let mut uses = vec![0u32; kernel.values.len()];
    count_block(&kernel.values, &kernel.body, &mut uses);
    let body = std::mem::take(&mut kernel.body);
    let mut rewrite = Rewrite { values: &mut kernel.values, uses, dot: target.dot, half_convert: target.half_convert };
    kernel.body = rewrite.block(body);
    kernel.renumber();
}

fn count(uses: &mut [u32], operand: Operand) {
    if let Operand::Value(v) = operand
        && let Some(n) = uses.get_mut(v.index())
    {
        *n += 1;
    }
}

fn count_block(values: &Arena<ValueId, Value>, stmts: &[Stmt], uses: &mut [u32]) {
    for stmt in stmts {
        match stmt {
            Stmt::Let(v) => {
                if let Def::Expr(e) = &values[*v].def {
                    e.operands().into_iter().for_each(|o| count(uses, o));
                }
            }
            Stmt::Load { index, .. } | Stmt::Prefetch { index, .. } => count(uses, *index),
            Stmt::Store { index, value, .. } => {
                count(uses, *index);
                count(uses, *value);
            }
            Stmt::Var { init: value, .. } | Stmt::Set { value, .. } => count(uses, *value),
            Stmt::Subgroup { value, .. } => count(uses, *value),
            Stmt::Get { .. } | Stmt::Barrier => {}
            Stmt::For { start, end, body, .. } => {
                count(uses, *start);
                count(uses, *end);
                count_block(values, body, uses);
            }
            Stmt::If { cond, then, otherwise } => {
                count(uses, *cond);
                count_block(values, then, uses);
                count_block(values, otherwise, uses);
            }
        }
    }
}

struct Rewrite<'k> {
    values: &'k mut Arena<ValueId, Value>,
    /// Uses of each value of the kernel as it was.
    uses: Vec<u32>,
    dot: DotKind,
    half_convert: bool,
}

impl Rewrite<'_> {
    fn block(&mut self, stmts: Vec<Stmt>) -> Vec<Stmt> {
        let mut out = Vec::with_capacity(stmts.len());
        // Definitions are replaced after the block, so that a rewrite sees those of the kernel as it was.
        let mut replaced = Vec::new();
        for stmt in stmts {
            match stmt {
                Stmt::Let(v) => {
                    if let Some(e) = self.expand(v, &mut out) {
                        replaced.push((v, e));
                    }
                    out.push(Stmt::Let(v));
                }
                Stmt::For { iv, start, end, step, unroll, body } => {
                    let body = self.block(body);
                    out.push(Stmt::For { iv, start, end, step, unroll, body });
                }
                Stmt::If { cond, then, otherwise } => {
                    let (then, otherwise) = (self.block(then), self.block(otherwise));
                    out.push(Stmt::If { cond, then, otherwise });
                }
                other => out.push(other),
            }
        }
        for (v, e) in replaced {
            self.values[v].def = Def::Expr(e);
        }
        out
    }

    /// What the definition of `v` becomes, if it is not legal; the steps to it are appended to `out`.
    fn expand(&mut self, v: ValueId, out: &mut Vec<Stmt>) -> Option<Expr> {
        let ty = self.values[v].ty;
        let Def::Expr(e) = self.values[v].def.clone() else { return None };
        let mut s = Steps::new(self.values, out);
        match e {
            Expr::Unary(UnaryOp::Exp, x) => Some(exp::expand(&mut s, ty, x)),
            Expr::Unary(UnaryOp::Tanh, x) => Some(tanh::expand(&mut s, ty, x)),
            Expr::Convert(x) if !self.half_convert => halves::expand(&mut s, ty, x),
            Expr::Dot4 { acc, a, b, max_a } => match self.dot {
                DotKind::U8I8 => dot_offset::expand(&mut s, ty, acc, a, b),
                DotKind::Pairs => {
                    let uses = &self.uses;
                    dot_pairs::expand(&mut s, ty, &e, |o| matches!(o, Operand::Value(v) if uses.get(v.index()) == Some(&1)))
                }
                DotKind::I8I8 | DotKind::Mmla => as_signed(&mut s, ty, acc, a, b, max_a),
                DotKind::None => dot_widen::expand(&mut s, ty, acc, a, b),
            },
            _ => None,
        }
    }
}

/// `dot4` of unsigned bytes that fit signed ones, by an instruction for signed ones.
fn as_signed(s: &mut Steps<'_>, ty: Type, acc: Operand, a: Operand, b: Operand, max_a: u8) -> Option<Expr> {
    let of = s.ty(a).filter(|t| t.scalar == Scalar::U8)?;
    if max_a > 127 {
        return dot_widen::expand(s, ty, acc, a, b);
    }
    let a = s.bitcast(of.with_scalar(Scalar::I8), a);
    Some(Expr::Dot4 { acc, a, b, max_a })
}

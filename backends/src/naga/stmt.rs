//! Statements.
//!
//! A loop is naga's endless loop: the exit first, the step at the end of the body, so that neither output needs a flag for the
//! first turn. Copies that a loop asks for (`unroll`) are made here; what is left of the trip count follows.

use super::Fault;
use super::builder::V;
use super::expr;
use super::func::Func;
use naga::{Barrier, BinaryOperator, Block, Scalar as Ns, Statement, SubgroupOperation};
use slmc_ir::kernel::{BufId, Def, Imm, Operand, ReduceOp, Scalar, Stmt, Type, ValueId};

/// Writes statements into the open block.
pub(super) fn block(f: &mut Func<'_, '_>, stmts: &[Stmt]) -> Result<(), Fault> {
    stmts.iter().try_for_each(|s| stmt(f, s))
}

fn stmt(f: &mut Func<'_, '_>, s: &Stmt) -> Result<(), Fault> {
    let kernel = f.kernel;
    match s {
        Stmt::Let(v) => {
            let value = &kernel.values[*v];
            let Def::Expr(e) = &value.def else { return Err(Fault(format!("`let {v}` has no expression"))) };
            let out = expr::expr(f, e, value.ty)?;
            // Conditions read best where they are used.
            if value.ty.scalar != Scalar::Bool {
                f.b.name(out, || v.to_string());
            }
            f.define(*v, out);
        }
        Stmt::Load { dst, buf, index } => {
            let place = place(f, *buf, *index)?;
            let out = f.b.load(place);
            f.define(*dst, out);
        }
        Stmt::Store { buf, index, value } => {
            let value = f.operand(*value, kernel.buffers[*buf].elem)?;
            let place = place(f, *buf, *index)?;
            f.b.store(place, value);
        }
        Stmt::Prefetch { .. } => {}
        Stmt::Var { var, init: value } | Stmt::Set { var, value } => {
            let value = f.operand(*value, kernel.vars[*var])?;
            let var = f.var(*var);
            f.b.store(var, value);
        }
        Stmt::Get { dst, var } => {
            let var = f.var(*var);
            let out = f.b.load(var);
            f.define(*dst, out);
        }
        Stmt::For { iv, start, end, step, unroll, body } => {
            let bounds = Bounds { start: *start, end: *end, step: (*step).max(1) };
            unrolled(f, *iv, bounds, (*unroll).max(1), body)?;
        }
        Stmt::If { cond, then, otherwise } => {
            let condition = f.operand(*cond, Type::scalar(Scalar::Bool))?;
            f.b.open();
            block(f, then)?;
            let accept = f.b.close();
            f.b.open();
            block(f, otherwise)?;
            let reject = f.b.close();
            f.b.stmt(Statement::If { condition, accept, reject });
        }
        Stmt::Subgroup { dst, op, value } => {
            let ty = kernel.values[*dst].ty;
            let argument = f.operand(*value, ty)?;
            let op = match op {
                ReduceOp::Add => SubgroupOperation::Add,
                ReduceOp::Max => SubgroupOperation::Max,
                ReduceOp::Min => SubgroupOperation::Min,
            };
            let (scalar, _) = f.form(ty)?.shape();
            let out = if kernel.lanes == 1 { argument } else { f.b.subgroup(op, argument, scalar) };
            f.define(*dst, out);
        }
        Stmt::Barrier if kernel.lanes == 1 => {}
        Stmt::Barrier => f.b.stmt(Statement::ControlBarrier(Barrier::WORK_GROUP)),
    }
    Ok(())
}

/// A pointer to an element. A constant index is kept inside: outside it is legal only where it is not reached.
fn place(f: &mut Func<'_, '_>, buf: BufId, index: Operand) -> Result<V, Fault> {
    let last = f.kernel.buffers[buf].len.saturating_sub(1);
    let index = match index {
        Operand::Imm(Imm::Int(n)) => f.b.u32(u32::try_from(n).unwrap_or(0).min(last)),
        _ => f.operand(index, Type::INDEX)?,
    };
    let base = f.buffer(buf);
    Ok(f.b.place(base, index))
}

#[derive(Clone, Copy)]
struct Bounds {
    start: Operand,
    end: Operand,
    step: u32,
}

fn unrolled(f: &mut Func<'_, '_>, iv: ValueId, bounds: Bounds, copies: u32, body: &[Stmt]) -> Result<(), Fault> {
    let step = bounds.step;
    // Copies that no loop variable can count have no place in any loop.
    let copies = if copies.checked_mul(step).is_some() { copies } else { 1 };
    let (Operand::Imm(Imm::Int(first)), Operand::Imm(Imm::Int(last))) = (bounds.start, bounds.end) else {
        let (start, end) = (f.operand(bounds.start, Type::INDEX)?, f.operand(bounds.end, Type::INDEX)?);
        let now = counter(f, iv, start);
        repeat(f, iv, now, end, step, copies, body)?;
        if copies > 1 {
            repeat(f, iv, now, end, step, 1, body)?;
        }
        return Ok(());
    };
    let trips = last.saturating_sub(first).max(0).unsigned_abs().div_ceil(u64::from(step));
    let place = |trip: u64| (first.unsigned_abs() + trip * u64::from(step)) as u32;
    let end_of_groups = trips - trips % u64::from(copies);
    if end_of_groups > u64::from(copies) {
        let (start, end) = (f.b.u32(place(0)), f.b.u32(place(end_of_groups)));
        let now = counter(f, iv, start);
        repeat(f, iv, now, end, step, copies, body)?;
    } else {
        copy(f, iv, (0..end_of_groups).map(place), body)?;
    }
    copy(f, iv, (end_of_groups..trips).map(place), body)
}

/// A variable that holds `start`.
fn counter(f: &mut Func<'_, '_>, iv: ValueId, start: V) -> V {
    let now = f.b.variable(format!("next_{iv}"), Ns::U32, 1);
    f.b.store(now, start);
    now
}

/// The body once for each constant value of the loop variable, in a row.
fn copy(f: &mut Func<'_, '_>, iv: ValueId, places: impl Iterator<Item = u32>, body: &[Stmt]) -> Result<(), Fault> {
    for place in places {
        let place = f.b.u32(place);
        f.define(iv, place);
        block(f, body)?;
    }
    Ok(())
}

/// A loop of `copies` bodies per turn, as long as all of them are before `end`; `counter` is left at the first value not taken.
fn repeat(f: &mut Func<'_, '_>, iv: ValueId, counter: V, end: V, step: u32, copies: u32, body: &[Stmt]) -> Result<(), Fault> {
    f.b.open();
    let now = f.b.load(counter);
    let place = |f: &mut Func<'_, '_>, n: u32| {
        if n == 0 {
            return now;
        }
        let by = f.b.u32(n * step);
        f.b.binary(BinaryOperator::Add, now, by)
    };
    let last = place(f, copies - 1);
    let done = f.b.binary(BinaryOperator::GreaterEqual, last, end);
    let mut accept = Block::new();
    accept.push(Statement::Break, naga::Span::UNDEFINED);
    f.b.stmt(Statement::If { condition: done, accept, reject: Block::new() });
    for n in 0..copies {
        let here = place(f, n);
        f.define(iv, here);
        block(f, body)?;
    }
    let next = place(f, copies);
    f.b.store(counter, next);
    let body = f.b.close();
    f.b.stmt(Statement::Loop { body, continuing: Block::new(), break_if: None });
    Ok(())
}

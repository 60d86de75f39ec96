//! Statements: the tree becomes basic blocks.
//!
//! A loop with an unroll count is copied here, not by LLVM: the copies are what the kernel asked for, and a loop whose trip
//! count the count divides has no remainder.

use super::func::Func;
use super::{Fault, expr, memory};
use inkwell::IntPredicate;
use inkwell::values::{BasicValue, IntValue};
use slmc_ir::kernel::{Def, Imm, Operand, Scalar, Stmt, Type, ValueId};

/// Writes a block of statements at the builder's place.
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
            f.define(*v, out);
        }
        Stmt::Load { dst, buf, index } => {
            let out = memory::load(f, kernel.values[*dst].ty, *buf, *index)?;
            f.define(*dst, out);
        }
        Stmt::Store { buf, index, value } => memory::store(f, *buf, *index, *value)?,
        Stmt::Prefetch { buf, index } => memory::prefetch(f, *buf, *index)?,
        Stmt::Var { var, init: value } | Stmt::Set { var, value } => {
            let value = f.operand(*value, kernel.vars[*var])?;
            f.b.build_store(f.var(*var), value)?;
        }
        Stmt::Get { dst, var } => {
            let out = f.b.build_load(super::types::ty(f.cx, kernel.vars[*var]), f.var(*var), "")?;
            f.define(*dst, out);
        }
        Stmt::For { iv, start, end, step, unroll, body } => {
            let bounds = Bounds { start: *start, end: *end, step: (*step).max(1) };
            unrolled(f, *iv, bounds, (*unroll).max(1), body)?;
        }
        Stmt::If { cond, then, otherwise } => branch(f, *cond, then, otherwise)?,
        // One lane a tile: a subgroup has one share.
        Stmt::Subgroup { dst, value, .. } => {
            let value = f.operand(*value, kernel.values[*dst].ty)?;
            f.define(*dst, value);
        }
        Stmt::Barrier => {}
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Bounds {
    start: Operand,
    end: Operand,
    step: u32,
}

fn unrolled(f: &mut Func<'_, '_>, iv: ValueId, bounds: Bounds, copies: u32, body: &[Stmt]) -> Result<(), Fault> {
    let (start, end) = (f.index(bounds.start)?, f.index(bounds.end)?);
    let step = bounds.step;
    let (Operand::Imm(Imm::Int(first)), Operand::Imm(Imm::Int(last))) = (bounds.start, bounds.end) else {
        if copies == 1 {
            repeat(f, iv, start, end, step, 1, body)?;
            return Ok(());
        }
        let next = repeat(f, iv, start, end, step, copies, body)?;
        repeat(f, iv, next, end, step, 1, body)?;
        return Ok(());
    };
    let trips = last.saturating_sub(first).max(0).unsigned_abs().div_ceil(u64::from(step));
    let place = |trip: u64| f.cx.i32_type().const_int(first.unsigned_abs() + trip * u64::from(step), false);
    let (end_of_groups, groups) = (trips - trips % u64::from(copies), trips / u64::from(copies));
    let rest: Vec<IntValue<'_>> = (end_of_groups..trips).map(place).collect();
    let once: Vec<IntValue<'_>> = (0..end_of_groups).map(place).collect();
    let limit = place(end_of_groups);
    if groups > 1 {
        repeat(f, iv, start, limit, step, copies, body)?;
    } else {
        copy(f, iv, &once, body)?;
    }
    copy(f, iv, &rest, body)
}

/// The body once for each value of the loop variable, in a row.
fn copy<'ctx>(f: &mut Func<'_, 'ctx>, iv: ValueId, places: &[IntValue<'ctx>], body: &[Stmt]) -> Result<(), Fault> {
    for place in places {
        f.define(iv, place.as_basic_value_enum());
        block(f, body)?;
    }
    Ok(())
}

/// A loop of `copies` bodies per iteration, as long as all of them are before `end`. Returns the first value not taken.
fn repeat<'ctx>(
    f: &mut Func<'_, 'ctx>,
    iv: ValueId,
    start: IntValue<'ctx>,
    end: IntValue<'ctx>,
    step: u32,
    copies: u32,
    body: &[Stmt],
) -> Result<IntValue<'ctx>, Fault> {
    let int = f.cx.i32_type();
    let stride = |n: u32| int.const_int(u64::from(n) * u64::from(step), false);
    let entry = f.b.get_insert_block().ok_or_else(|| Fault("no open block".into()))?;
    let head = f.cx.append_basic_block(f.function, "for");
    let inside = f.cx.append_basic_block(f.function, "body");
    let done = f.cx.append_basic_block(f.function, "done");
    f.b.build_unconditional_branch(head)?;
    f.b.position_at_end(head);
    let phi = f.b.build_phi(int, "")?;
    let now = phi.as_basic_value().into_int_value();
    let last = if copies == 1 { now } else { f.b.build_int_nuw_add(now, stride(copies - 1), "")? };
    let more = f.b.build_int_compare(IntPredicate::ULT, last, end, "")?;
    f.b.build_conditional_branch(more, inside, done)?;
    f.b.position_at_end(inside);
    let mut places = vec![now];
    for n in 1..copies {
        places.push(f.b.build_int_nuw_add(now, stride(n), "")?);
    }
    copy(f, iv, &places, body)?;
    let next = f.b.build_int_nuw_add(now, stride(copies), "")?;
    let latch = f.b.get_insert_block().ok_or_else(|| Fault("no open block".into()))?;
    f.b.build_unconditional_branch(head)?;
    phi.add_incoming(&[(&start, entry), (&next, latch)]);
    f.b.position_at_end(done);
    Ok(now)
}

fn branch(f: &mut Func<'_, '_>, cond: Operand, then: &[Stmt], otherwise: &[Stmt]) -> Result<(), Fault> {
    let cond = f.operand(cond, Type::scalar(Scalar::Bool))?.into_int_value();
    let on_true = f.cx.append_basic_block(f.function, "then");
    let on_false = f.cx.append_basic_block(f.function, "else");
    let done = f.cx.append_basic_block(f.function, "done");
    f.b.build_conditional_branch(cond, on_true, on_false)?;
    for (start, stmts) in [(on_true, then), (on_false, otherwise)] {
        f.b.position_at_end(start);
        block(f, stmts)?;
        f.b.build_unconditional_branch(done)?;
    }
    f.b.position_at_end(done);
    Ok(())
}

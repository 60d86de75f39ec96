//! Statements: the tree becomes basic blocks.
//!
//! A loop is tested at its head, so that what a trip sets a variable to has one use, the next trip: Cranelift takes an operand from
//! memory only on the way to one use. A loop with an unroll count is copied here. Variables are Cranelift's, which makes them values.

use super::func::Func;
use super::{Fault, expr, memory};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I32;
use cranelift_codegen::ir::{InstBuilder as _, Value};
use slmc_ir::kernel::{Def, Imm, Operand, Scalar, Stmt, Type, ValueId};

/// Writes a block of statements at the builder's place.
pub(super) fn block(f: &mut Func<'_>, stmts: &[Stmt]) -> Result<(), Fault> {
    stmts.iter().try_for_each(|s| stmt(f, s))
}

fn stmt(f: &mut Func<'_>, s: &Stmt) -> Result<(), Fault> {
    let kernel = f.kernel;
    match s {
        Stmt::Let(v) => {
            let value = &kernel.values[*v];
            let Def::Expr(e) = &value.def else { return Err(Fault(format!("`let {v}` has no expression"))) };
            let out = expr::expr(f, e, value.ty)?;
            f.define_by(*v, out, e);
        }
        Stmt::Load { dst, buf, index } => {
            let out = memory::load(f, kernel.values[*dst].ty, *buf, *index)?;
            f.define_in_loop(*dst, out);
        }
        Stmt::Store { buf, index, value } => memory::store(f, *buf, *index, *value)?,
        Stmt::Var { var, init: value } | Stmt::Set { var, value } => {
            let value = f.operand(*value, kernel.vars[*var])?;
            let var = f.var(*var);
            f.b.def_var(var, value);
        }
        Stmt::Get { dst, var } => {
            let var = f.var(*var);
            let out = f.b.use_var(var);
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
        // Cranelift has no instruction that only asks for a line.
        Stmt::Prefetch { .. } | Stmt::Barrier => {}
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Bounds {
    start: Operand,
    end: Operand,
    step: u32,
}

fn unrolled(f: &mut Func<'_>, iv: ValueId, bounds: Bounds, copies: u32, body: &[Stmt]) -> Result<(), Fault> {
    let step = bounds.step;
    let (Operand::Imm(Imm::Int(first)), Operand::Imm(Imm::Int(last))) = (bounds.start, bounds.end) else {
        let (start, end) = (f.index(bounds.start)?, f.index(bounds.end)?);
        let next = repeat(f, iv, Trips { start, end, step, copies }, body)?;
        if copies > 1 {
            repeat(f, iv, Trips { start: next, end, step, copies: 1 }, body)?;
        }
        return Ok(());
    };
    let trips = last.saturating_sub(first).max(0).unsigned_abs().div_ceil(u64::from(step));
    let place = |trip: u64| (first.unsigned_abs() + trip * u64::from(step)) as i64;
    let (end_of_groups, groups) = (trips - trips % u64::from(copies), trips / u64::from(copies));
    if groups > 1 {
        let (start, end) = (f.index(bounds.start)?, f.number(I32, place(end_of_groups)));
        repeat(f, iv, Trips { start, end, step, copies }, body)?;
    } else {
        copy(f, iv, (0..end_of_groups).map(place), body)?;
    }
    copy(f, iv, (end_of_groups..trips).map(place), body)
}

/// The body once for each value of the loop variable, in a row.
fn copy(f: &mut Func<'_>, iv: ValueId, places: impl Iterator<Item = i64>, body: &[Stmt]) -> Result<(), Fault> {
    for place in places {
        let place = f.number(I32, place);
        f.define(iv, place);
        block(f, body)?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Trips {
    start: Value,
    end: Value,
    step: u32,
    /// Bodies per iteration.
    copies: u32,
}

/// A loop of `copies` bodies per iteration, as long as all of them are before `end`. Returns the first value not taken.
fn repeat(f: &mut Func<'_>, iv: ValueId, trips: Trips, body: &[Stmt]) -> Result<Value, Fault> {
    let (head, inside, done) = (f.b.create_block(), f.b.create_block(), f.b.create_block());
    let now = f.b.append_block_param(head, I32);
    let stride = |n: u32| i64::from(n) * i64::from(trips.step);
    f.b.ins().jump(head, &[trips.start.into()]);
    f.b.switch_to_block(head);
    let last = plus(f, now, stride(trips.copies - 1));
    let more = f.b.ins().icmp(IntCC::UnsignedLessThan, last, trips.end);
    f.b.ins().brif(more, inside, &[], done, &[]);
    f.b.switch_to_block(inside);
    f.b.seal_block(inside);
    f.nest(1);
    for n in 0..trips.copies {
        let place = plus(f, now, stride(n));
        f.define_in_loop(iv, place);
        block(f, body)?;
    }
    f.nest(-1);
    let next = plus(f, now, stride(trips.copies));
    f.b.ins().jump(head, &[next.into()]);
    f.b.seal_block(head);
    f.b.switch_to_block(done);
    f.b.seal_block(done);
    Ok(now)
}

fn plus(f: &mut Func<'_>, v: Value, n: i64) -> Value {
    if n == 0 {
        return v;
    }
    let n = f.number(I32, n);
    f.b.ins().iadd(v, n)
}

fn branch(f: &mut Func<'_>, cond: Operand, then: &[Stmt], otherwise: &[Stmt]) -> Result<(), Fault> {
    let cond = f.operand(cond, Type::scalar(Scalar::Bool))?;
    let (on_true, on_false, done) = (f.b.create_block(), f.b.create_block(), f.b.create_block());
    f.b.ins().brif(cond, on_true, &[], on_false, &[]);
    for (start, stmts) in [(on_true, then), (on_false, otherwise)] {
        f.b.switch_to_block(start);
        f.b.seal_block(start);
        block(f, stmts)?;
        f.b.ins().jump(done, &[]);
    }
    f.b.switch_to_block(done);
    f.b.seal_block(done);
    Ok(())
}

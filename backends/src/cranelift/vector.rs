//! Expressions that move or combine lanes: widths, repeat, shuffle, extract, reduce and the integer dot products.

use super::Fault;
use super::expr::binary;
use super::func::Func;
use super::types::{REGISTER, form, ints, lane_bits};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F32X4, I8X16, I32};
use cranelift_codegen::ir::{InstBuilder as _, Type as Clif, Value};
use slmc_ir::kernel::{BinaryOp, ReduceOp, Scalar, Type};

/// The low lanes of an integer register with more bits.
pub(super) fn widened(f: &mut Func<'_>, v: Value, had: u32, want: u32, signed: bool) -> Value {
    let (mut v, mut bits) = (v, had);
    while bits < want {
        v = if signed { f.b.ins().swiden_low(v) } else { f.b.ins().uwiden_low(v) };
        bits *= 2;
    }
    v
}

/// The lanes of an integer register with fewer bits, the upper ones cut off; they are the low lanes of the result.
pub(super) fn narrowed(f: &mut Func<'_>, v: Value, had: u32, want: u32) -> Value {
    if had == want {
        return v;
    }
    let (from, to) = (had / 8, want / 8);
    let picked = bytes_of_lanes((0..128 / had).map(|lane| lane * from), to);
    let out = bytes(f, v, v, picked);
    f.bits(out, ints(want, false))
}

/// The bytes of lanes of some bytes that start at places; the rest of a register repeats the last lane.
fn bytes_of_lanes(starts: impl Iterator<Item = u32>, bytes: u32) -> Vec<u8> {
    let mut out: Vec<u8> = starts.flat_map(|start| (start..start + bytes).map(|byte| byte as u8)).collect();
    while out.len() < REGISTER as usize {
        out.push(out[out.len() - bytes as usize]);
    }
    out
}

/// Bytes of the concatenation of two registers.
fn bytes(f: &mut Func<'_>, a: Value, b: Value, picked: Vec<u8>) -> Value {
    let (a, b) = (f.bits(a, I8X16), f.bits(b, I8X16));
    let mask = f.b.func.dfg.immediates.push(picked.into());
    f.b.ins().shuffle(a, b, mask)
}

/// Repeats the lanes of `v`, of type `from`, to fill `to`.
pub(super) fn repeat(f: &mut Func<'_>, v: Value, from: Type, to: Type) -> Value {
    if from.lanes == to.lanes {
        return v;
    }
    if from == Type::scalar(Scalar::Bool) {
        let (ones, zeros) = (f.lanes(form(to), u32::MAX, 32), f.lanes(form(to), 0, 32));
        return f.b.ins().select(v, ones, zeros);
    }
    if from.lanes == 1 {
        return f.b.ins().splat(form(to), v);
    }
    let all = f.broadcast(v, from.bytes());
    f.bits(all, form(to))
}

/// Same bits as `to`.
pub(super) fn bitcast(f: &mut Func<'_>, v: Value, from: Type, to: Type) -> Value {
    match (from.is_vector(), to.is_vector()) {
        (true, true) | (false, false) => f.bits(v, form(to)),
        (true, false) => {
            let word = f.word(v, from.bytes());
            f.bits(word, form(to))
        }
        (false, true) => {
            let word = if form(from) == F32 { f.bits(v, I32) } else { v };
            f.padded(word, form(to))
        }
    }
}

/// One lane of a value.
pub(super) fn extract(f: &mut Func<'_>, v: Value, from: Type, n: u16) -> Value {
    if !from.is_vector() {
        return v;
    }
    let lane = f.b.ins().extractlane(v, n as u8);
    if from.scalar != Scalar::Bool {
        return lane;
    }
    let zero = f.number(ints(lane_bits(from), true), 0);
    f.b.ins().icmp(IntCC::NotEqual, lane, zero)
}

/// A scalar as lane 0.
fn single(f: &mut Func<'_>, v: Value, register: Clif) -> Value {
    if register == F32X4 { f.b.ins().scalar_to_vector(register, v) } else { f.padded(v, register) }
}

/// Lanes of the concatenation of `a` and `b`, both of type `from`.
pub(super) fn shuffle(f: &mut Func<'_>, a: Value, b: Value, from: Type, lanes: &[u16]) -> Value {
    let register = form(Type::vector(from.scalar, REGISTER as u16 / from.scalar.bytes() as u16));
    let (a, b) = if from.is_vector() { (a, b) } else { (single(f, a, register), single(f, b, register)) };
    let size = from.scalar.bytes();
    let start = |lane: u16| {
        let lane = u32::from(lane);
        if lane < u32::from(from.lanes) { lane * size } else { REGISTER + (lane - u32::from(from.lanes)) * size }
    };
    let out = bytes(f, a, b, bytes_of_lanes(lanes.iter().map(|l| start(*l)), size));
    let out = f.bits(out, register);
    if lanes.len() == 1 { f.b.ins().extractlane(out, 0) } else { out }
}

/// All lanes to one: halves are combined until one lane is left.
pub(super) fn reduce(f: &mut Func<'_>, op: ReduceOp, v: Value, from: Type) -> Result<Value, Fault> {
    let op = match op {
        ReduceOp::Add => BinaryOp::Add,
        ReduceOp::Max => BinaryOp::Max,
        ReduceOp::Min => BinaryOp::Min,
    };
    let size = from.scalar.bytes();
    let (mut v, mut lanes) = (v, u32::from(from.lanes));
    while lanes > 1 {
        lanes /= 2;
        let high = bytes(f, v, v, bytes_of_lanes((lanes..2 * lanes).map(|lane| lane * size), size));
        let high = f.bits(high, form(from));
        v = binary(f, op, v, high, from)?;
    }
    Ok(extract(f, v, from, 0))
}

/// `acc + Σ a·b` of four neighbours, b signed; `to` is the type of `acc` and the result. Written so that Cranelift finds the dot
/// product of the instruction set in it: halves are multiplied in 16 bits, and neighbours added in 32.
pub(super) fn dot4(f: &mut Func<'_>, acc: Value, a: Value, b: Value, unsigned: bool, to: Type) -> Value {
    let acc = if to.is_vector() { acc } else { f.padded(acc, form(Type::vector(to.scalar, 4))) };
    let (low_a, high_a) =
        if unsigned { (f.b.ins().uwiden_low(a), f.b.ins().uwiden_high(a)) } else { (f.b.ins().swiden_low(a), f.b.ins().swiden_high(a)) };
    let (low_b, high_b) = (f.b.ins().swiden_low(b), f.b.ins().swiden_high(b));
    // The signed operand first on x86-64, the unsigned one on aarch64.
    let product = |f: &mut Func<'_>, a: Value, b: Value| if f.x86 { f.b.ins().imul(b, a) } else { f.b.ins().imul(a, b) };
    let (low, high) = (product(f, low_a, low_b), product(f, high_a, high_b));
    let pairs = |f: &mut Func<'_>, v: Value| {
        let (low, high) = (f.b.ins().swiden_low(v), f.b.ins().swiden_high(v));
        f.b.ins().iadd_pairwise(low, high)
    };
    let (low, high) = (pairs(f, low), pairs(f, high));
    let sum = f.b.ins().iadd_pairwise(low, high);
    let sum = f.b.ins().iadd(sum, acc);
    if to.is_vector() { sum } else { f.b.ins().extractlane(sum, 0) }
}

/// Sums of products of two neighbours: u8·i8 → i16 (on x86-64) or i16·i16 → i32, by the result's type `to`.
pub(super) fn dot2(f: &mut Func<'_>, a: Value, b: Value, to: Type) -> Value {
    let sums = if to.scalar == Scalar::I16 {
        f.b.ins().x86_pmaddubsw(b, a)
    } else {
        let (low_a, low_b) = (f.b.ins().swiden_low(a), f.b.ins().swiden_low(b));
        let (high_a, high_b) = (f.b.ins().swiden_high(a), f.b.ins().swiden_high(b));
        let (low, high) = (f.b.ins().imul(low_a, low_b), f.b.ins().imul(high_a, high_b));
        f.b.ins().iadd_pairwise(low, high)
    };
    if to.is_vector() { sums } else { f.b.ins().extractlane(sums, 0) }
}

//! Expressions that move or combine lanes: repeat, shuffle, extract, reduce and the integer dot products.

use super::func::{Func, on_floats, on_ints};
use super::{Fault, types};
use inkwell::types::BasicType;
use inkwell::values::{BasicValueEnum, IntValue, VectorValue};
use slmc_ir::kernel::{BinaryOp, ReduceOp, Scalar, Type};

type Value<'ctx> = BasicValueEnum<'ctx>;

/// Bytes of the widest vector that the target computes with.
fn widest(f: &Func<'_, '_>) -> u32 {
    u32::from(f.target.vector_bits) / 8
}

/// The lane type of a value as LLVM names it.
fn lane<'ctx>(f: &Func<'_, 'ctx>, n: u32) -> IntValue<'ctx> {
    f.cx.i32_type().const_int(u64::from(n), false)
}

/// One lane in a vector of its own.
fn single<'ctx>(f: &Func<'_, 'ctx>, v: Value<'ctx>) -> Result<VectorValue<'ctx>, Fault> {
    let into = types::poison(types::vector(v.get_type(), 1).const_zero());
    Ok(f.b.build_insert_element(into, v, lane(f, 0), "")?)
}

/// `lanes` copies of a scalar.
fn splat<'ctx>(f: &Func<'_, 'ctx>, v: Value<'ctx>, lanes: u16) -> Result<VectorValue<'ctx>, Fault> {
    let into = types::vector(v.get_type(), lanes).get_poison();
    let first = f.b.build_insert_element(into, v, lane(f, 0), "")?;
    let mask = types::mask(f.cx, (0..lanes).map(|_| 0));
    Ok(f.b.build_shuffle_vector(first, into, mask, "")?)
}

/// Repeats the lanes of `v`, of type `from`, to fill `to`. Up to eight bytes are repeated as one integer, which is what
/// broadcasts from memory do.
pub(super) fn repeat<'ctx>(f: &Func<'_, 'ctx>, v: Value<'ctx>, from: Type, to: Type) -> Result<Value<'ctx>, Fault> {
    if from.lanes == to.lanes {
        return Ok(v);
    }
    if from.lanes == 1 {
        return Ok(splat(f, v, to.lanes)?.into());
    }
    let unit = match from.bytes() {
        2 => f.cx.i16_type(),
        4 => f.cx.i32_type(),
        8 => f.cx.i64_type(),
        _ => {
            let v = v.into_vector_value();
            let mask = types::mask(f.cx, (0..to.lanes).map(|i| u32::from(i % from.lanes)));
            return Ok(f.b.build_shuffle_vector(v, types::poison(v), mask, "")?.into());
        }
    };
    let unit = f.bits(v, unit.into())?;
    let all = splat(f, unit, to.lanes / from.lanes)?;
    f.bits(all.into(), types::ty(f.cx, to))
}

/// Lanes of the concatenation of `a` and `b`, both of type `from`.
pub(super) fn shuffle<'ctx>(f: &Func<'_, 'ctx>, a: Value<'ctx>, b: Value<'ctx>, from: Type, lanes: &[u16]) -> Result<Value<'ctx>, Fault> {
    let (a, b) = if from.lanes == 1 { (single(f, a)?, single(f, b)?) } else { (a.into_vector_value(), b.into_vector_value()) };
    let mask = types::mask(f.cx, lanes.iter().map(|l| u32::from(*l)));
    let out = f.b.build_shuffle_vector(a, b, mask, "")?;
    if lanes.len() == 1 { Ok(f.b.build_extract_element(out, lane(f, 0), "")?) } else { Ok(out.into()) }
}

/// One lane of a value.
pub(super) fn extract<'ctx>(f: &Func<'_, 'ctx>, v: Value<'ctx>, n: u32) -> Result<Value<'ctx>, Fault> {
    if v.is_vector_value() { Ok(f.b.build_extract_element(v.into_vector_value(), lane(f, n), "")?) } else { Ok(v) }
}

/// All lanes to one: halves are combined until one lane is left.
pub(super) fn reduce<'ctx>(f: &Func<'_, 'ctx>, op: ReduceOp, v: Value<'ctx>, from: Type) -> Result<Value<'ctx>, Fault> {
    let mut v = v;
    let mut lanes = from.lanes;
    while lanes > 1 {
        lanes /= 2;
        let whole = v.into_vector_value();
        let half = |first: u16| types::mask(f.cx, (first..first + lanes).map(u32::from));
        let low: Value<'ctx> = f.b.build_shuffle_vector(whole, types::poison(whole), half(0), "")?.into();
        let high: Value<'ctx> = f.b.build_shuffle_vector(whole, types::poison(whole), half(lanes), "")?.into();
        v = match op {
            ReduceOp::Add if from.scalar.is_float() => on_floats!(f.b, build_float_add(low, high)),
            ReduceOp::Add => on_ints!(f.b, build_int_add(low, high)),
            ReduceOp::Max => super::expr::binary(f, BinaryOp::Max, low, high, from.scalar)?,
            ReduceOp::Min => super::expr::binary(f, BinaryOp::Min, low, high, from.scalar)?,
        };
    }
    extract(f, v, 0)
}

/// `acc + Σ a·b` of four neighbours, u8·i8; `to` is the type of `acc` and the result.
pub(super) fn dot4<'ctx>(f: &Func<'_, 'ctx>, acc: Value<'ctx>, a: Value<'ctx>, b: Value<'ctx>, to: Type) -> Result<Value<'ctx>, Fault> {
    by_registers(f, &[acc, a, b], to, |bytes, parts| {
        if f.target.triple.starts_with("aarch64") {
            let bytes = f.cx.i8_type().vec_type(bytes);
            let parts = [parts[0], f.bits(parts[1], bytes.into())?, f.bits(parts[2], bytes.into())?];
            return f.compute("llvm.aarch64.neon.sdot", &[parts[0].get_type(), bytes.into()], &parts);
        }
        let name = match bytes {
            64 => "llvm.x86.avx512.vpdpbusd.512",
            32 => "llvm.x86.avx512.vpdpbusd.256",
            _ => "llvm.x86.avx512.vpdpbusd.128",
        };
        f.compute(name, &[], parts)
    })
}

/// `acc + A·Bᵀ` per register of two rows of eight bytes; `to` is the type of `acc` and the result.
pub(super) fn mmla<'ctx>(f: &Func<'_, 'ctx>, acc: Value<'ctx>, a: Value<'ctx>, b: Value<'ctx>, to: Type) -> Result<Value<'ctx>, Fault> {
    by_registers(f, &[acc, a, b], to, |bytes, parts| {
        let bytes = f.cx.i8_type().vec_type(bytes);
        let parts = [parts[0], f.bits(parts[1], bytes.into())?, f.bits(parts[2], bytes.into())?];
        f.compute("llvm.aarch64.neon.smmla", &[parts[0].get_type(), bytes.into()], &parts)
    })
}

/// Sums of products of two neighbours: u8·i8 → i16 or i16·i16 → i32, by the result's type `to`.
pub(super) fn dot2<'ctx>(f: &Func<'_, 'ctx>, a: Value<'ctx>, b: Value<'ctx>, to: Type) -> Result<Value<'ctx>, Fault> {
    let words = to.scalar == Scalar::I32;
    by_registers(f, &[a, b], to, |bytes, parts| {
        let name = match (words, bytes) {
            (false, 64) => "llvm.x86.avx512.pmaddubs.w.512",
            (false, 32) => "llvm.x86.avx2.pmadd.ub.sw",
            (false, _) => "llvm.x86.ssse3.pmadd.ub.sw.128",
            (true, 64) => "llvm.x86.avx512.pmaddw.d.512",
            (true, 32) => "llvm.x86.avx2.pmadd.wd",
            (true, _) => "llvm.x86.sse2.pmadd.wd",
        };
        let lane = if words { f.cx.i16_type() } else { f.cx.i8_type() };
        let lanes = bytes / if words { 2 } else { 1 };
        let parts = parts.iter().map(|p| f.bits(*p, lane.vec_type(lanes).into())).collect::<Result<Vec<_>, _>>()?;
        let out = f.compute(name, &[], &parts)?;
        f.bits(out, f.cx.i32_type().vec_type(bytes / 4).into())
    })
}

/// Cuts operands of one size into registers, applies `op` to each and joins the results as `to`, of that size too.
///
/// Everything is cut as vectors of i32, of 64, 32 or 16 bytes; what is smaller than 16 bytes is filled up with zeros.
fn by_registers<'ctx>(
    f: &Func<'_, 'ctx>,
    operands: &[Value<'ctx>],
    to: Type,
    op: impl Fn(u32, &[Value<'ctx>]) -> Result<Value<'ctx>, Fault>,
) -> Result<Value<'ctx>, Fault> {
    let dwords = to.bytes() / 4;
    let register = (widest(f) / 4).min(dwords.max(4));
    let i32s = f.cx.i32_type();
    let mut whole = Vec::new();
    for operand in operands {
        let v = if dwords == 1 {
            single(f, f.bits(*operand, i32s.into())?)?
        } else {
            f.bits(*operand, i32s.vec_type(dwords).into())?.into_vector_value()
        };
        whole.push(v);
    }
    let mut joined: Option<VectorValue<'ctx>> = None;
    for first in (0..dwords).step_by(register as usize) {
        let cut = |v: &VectorValue<'ctx>| -> Result<Value<'ctx>, Fault> {
            if dwords == register {
                return Ok((*v).into());
            }
            // Lanes past the end come from the second operand: zeros.
            let mask = types::mask(f.cx, (first..first + register).map(|i| i.min(dwords)));
            Ok(f.b.build_shuffle_vector(*v, v.get_type().const_zero(), mask, "")?.into())
        };
        let parts = whole.iter().map(cut).collect::<Result<Vec<_>, _>>()?;
        let out = op(register * 4, &parts)?.into_vector_value();
        joined = Some(match joined {
            None => out,
            Some(before) => join(f, before, out)?,
        });
    }
    let out = joined.ok_or_else(|| Fault("a dot product without lanes".into()))?;
    let have = out.get_type().get_size();
    let out = if have == dwords {
        out.into()
    } else if dwords == 1 {
        extract(f, out.into(), 0)?
    } else {
        f.b.build_shuffle_vector(out, types::poison(out), types::mask(f.cx, 0..dwords), "")?.into()
    };
    f.bits(out, types::ty(f.cx, to).as_basic_type_enum())
}

/// `before` followed by the shorter or equal `after`.
fn join<'ctx>(f: &Func<'_, 'ctx>, before: VectorValue<'ctx>, after: VectorValue<'ctx>) -> Result<VectorValue<'ctx>, Fault> {
    let (n, m) = (before.get_type().get_size(), after.get_type().get_size());
    let grown = if n == m {
        after
    } else {
        // Both operands of a shuffle have one length.
        f.b.build_shuffle_vector(after, types::poison(after), types::mask(f.cx, (0..n).map(|i| i.min(m - 1))), "")?
    };
    Ok(f.b.build_shuffle_vector(before, grown, types::mask(f.cx, (0..n).chain(n..n + m)), "")?)
}

//! Addresses, loads, stores and prefetches. Needs `unsafe`: LLVM takes a wrong element type of an address computation as
//! undefined behaviour.

use super::func::Func;
use super::{Fault, types};
use inkwell::builder::Builder;
use inkwell::context::Context;
use inkwell::types::BasicTypeEnum;
use inkwell::values::{BasicValue, BasicValueEnum, IntValue, PointerValue};
use slmc_ir::arena::Id;
use slmc_ir::kernel::{BufId, Buffer, Operand, Scalar, Type};

/// Makes a private or workgroup array on the stack.
pub(super) fn array<'ctx>(f: &Func<'_, 'ctx>, buffer: &Buffer) -> Result<PointerValue<'ctx>, Fault> {
    let bytes = f.cx.i8_type().array_type(buffer.len.saturating_mul(buffer.elem.bytes()));
    let place = f.b.build_alloca(bytes, &buffer.name)?;
    align(place.as_instruction(), buffer.align)?;
    Ok(place)
}

/// The address `index` elements into `base`. `inside` promises that it lies within the buffer.
fn address<'ctx>(f: &Func<'_, 'ctx>, buf: BufId, index: IntValue<'ctx>, inside: bool) -> Result<PointerValue<'ctx>, Fault> {
    let base = f.buffers[buf.index()];
    let elem = f.cx.i8_type().array_type(f.kernel.buffers[buf].elem.bytes());
    let wide = f.b.build_int_z_extend(index, f.cx.i64_type(), "")?;
    // SAFETY: the element type is one of `size(elem)` bytes, the unit of the index, and the base is a pointer. `inbounds`
    // is said only of loads and stores, which the verifier proved to be in range.
    let place = unsafe { if inside { f.b.build_in_bounds_gep(elem, base, &[wide], "")? } else { f.b.build_gep(elem, base, &[wide], "")? } };
    Ok(place)
}

/// The alignment of an access at any index: what buffer and element size share.
fn access_align(buffer: &Buffer, index: Operand) -> u32 {
    if index == Operand::from(0u32) {
        return buffer.align.max(1);
    }
    let bytes = buffer.elem.bytes().max(1);
    (1 << bytes.trailing_zeros()).min(buffer.align.max(1))
}

fn align(instruction: Option<inkwell::values::InstructionValue<'_>>, bytes: u32) -> Result<(), Fault> {
    match instruction {
        Some(i) => i.set_alignment(bytes.max(1)).map_err(|e| Fault(e.to_string())),
        None => Ok(()),
    }
}

/// Reads a `t` from `buf` at `index`.
///
/// Up to eight bytes are loaded as one integer, so that repeating them is a broadcast from memory.
pub(super) fn load<'ctx>(f: &Func<'_, 'ctx>, t: Type, buf: BufId, index: Operand) -> Result<BasicValueEnum<'ctx>, Fault> {
    let place = address(f, buf, f.index(index)?, true)?;
    let want = types::ty(f.cx, t);
    let byte_lanes = t.lanes > 1 && matches!(t.scalar, Scalar::I8 | Scalar::U8);
    let raw = match t.bytes() {
        2 if byte_lanes => f.cx.i16_type().into(),
        4 if byte_lanes => f.cx.i32_type().into(),
        8 if byte_lanes => f.cx.i64_type().into(),
        _ => want,
    };
    let value = f.b.build_load(raw, place, "")?;
    align(value.as_instruction_value(), access_align(&f.kernel.buffers[buf], index))?;
    f.bits(value, want)
}

/// Writes `value` to `buf` at `index`; an immediate has the buffer's element type.
pub(super) fn store(f: &Func<'_, '_>, buf: BufId, index: Operand, value: Operand) -> Result<(), Fault> {
    let place = address(f, buf, f.index(index)?, true)?;
    let value = f.operand(value, f.kernel.buffers[buf].elem)?;
    let instruction = f.b.build_store(place, value)?;
    align(Some(instruction), access_align(&f.kernel.buffers[buf], index))
}

/// Prefetches the line at `index` of `buf` for reading, into all levels of the cache.
pub(super) fn prefetch(f: &Func<'_, '_>, buf: BufId, index: Operand) -> Result<(), Fault> {
    let place = address(f, buf, f.index(index)?, false)?;
    let int = |v: u64| f.cx.i32_type().const_int(v, false);
    let overload = [place.get_type().into()];
    f.intrinsic("llvm.prefetch", &overload, &[place.into(), int(0).into(), int(3).into(), int(1).into()])?;
    Ok(())
}

/// The address of the `i`-th `t` of an array at `base`.
pub(super) fn element<'ctx>(
    cx: &'ctx Context,
    b: &Builder<'ctx>,
    base: PointerValue<'ctx>,
    t: BasicTypeEnum<'ctx>,
    i: u32,
) -> Result<PointerValue<'ctx>, Fault> {
    let index = cx.i64_type().const_int(u64::from(i), false);
    // SAFETY: the ABI promises arrays of `t` at `base`, long enough for every parameter of the kernel and for a step.
    Ok(unsafe { b.build_in_bounds_gep(t, base, &[index], "")? })
}

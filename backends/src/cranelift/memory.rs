//! Addresses, loads and stores.
//!
//! Indices do not wrap, so what a kernel adds to one as a constant becomes the displacement of the access. Every buffer is an
//! alias region of its own: in one dispatch, a binding that is written overlaps no other. Nothing is said of alignment: vector
//! accesses of any alignment cost the same.

use super::Fault;
use super::func::{Func, Place};
use super::types::{POINTER, REGISTER, form};
use cranelift_codegen::ir::{AliasRegionData, InstBuilder as _, MemFlagsData, StackSlotData, StackSlotKind, Type as Clif, Value};
use cranelift_frontend::FunctionBuilder;
use slmc_ir::arena::Id;
use slmc_ir::kernel::{Access, BinaryOp, BufId, Def, Expr, Imm, Kernel, Operand, Scalar, Space, Type};

/// Log2 of a stack array's alignment.
const STACK_ALIGN: u8 = 4;

/// The `i`-th `t` of an array that the runtime passes.
pub(super) fn argument(b: &mut FunctionBuilder<'_>, array: Value, t: Clif, i: usize) -> Value {
    let flags = MemFlagsData::trusted().with_readonly();
    b.ins().load(t, flags, array, i as i32 * t.bytes() as i32)
}

/// The places of all buffers: parameters, and arrays on the stack.
pub(super) fn places(b: &mut FunctionBuilder<'_>, kernel: &Kernel, params: &[Value]) -> Result<Vec<Place>, Fault> {
    let mut places = Vec::new();
    for (id, buffer) in kernel.buffers.iter() {
        let base = match buffer.space {
            Space::Param => *params.get(id.index()).ok_or_else(|| Fault(format!("the parameter `{}` follows no parameters", buffer.name)))?,
            Space::Private | Space::Workgroup => {
                let bytes = buffer.len.saturating_mul(buffer.elem.bytes()).max(1);
                let slot = b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, STACK_ALIGN));
                b.ins().stack_addr(POINTER, slot, 0)
            }
        };
        let region = b.func.dfg.alias_regions.insert(AliasRegionData { user_id: id.index() as u32, description: buffer.name.clone().into() });
        places.push(Place { base, region });
    }
    Ok(places)
}

/// The flags of an access.
fn flags(place: Place) -> MemFlagsData {
    MemFlagsData::new().with_notrap().with_alias_region(Some(place.region))
}

/// The flags of a load. One of what no one writes may move to where its value is used, which keeps it out of a register until then;
/// but not out of a loop that may have no trip, where the index may be any: it has to follow the loop's variable.
fn load_flags(f: &Func<'_>, buf: BufId, index: Operand) -> MemFlagsData {
    let flags = flags(f.buffers[buf.index()]);
    let buffer = &f.kernel.buffers[buf];
    let fixed = buffer.space == Space::Param && buffer.access == Access::Read;
    if fixed && f.changes(index) { flags.with_readonly().with_can_move() } else { flags }
}

/// The address `index` elements into a buffer, as a value and a displacement in bytes.
fn address(f: &mut Func<'_>, buf: BufId, index: Operand) -> Result<(Value, i32), Fault> {
    let bytes = i64::from(f.kernel.buffers[buf].elem.bytes());
    let base = f.buffers[buf.index()].base;
    let (mut index, mut displacement) = (index, 0i64);
    loop {
        let constant = match index {
            Operand::Imm(Imm::Int(n)) => Some((n, None)),
            Operand::Imm(Imm::Float(_)) => return Err(Fault("an index that is no integer".into())),
            Operand::Value(v) => match &f.kernel.values[v].def {
                Def::Expr(Expr::Binary(BinaryOp::Add, a, Operand::Imm(Imm::Int(n)))) => Some((*n, Some(*a))),
                _ => None,
            },
        };
        let Some((n, rest)) = constant else { break };
        let sum = displacement + n * bytes;
        let Ok(within) = i32::try_from(sum) else { break };
        displacement = sum;
        match rest {
            Some(a) => index = a,
            None => return Ok((base, within)),
        }
    }
    let index = f.index(index)?;
    let mut offset = f.b.ins().uextend(POINTER, index);
    if bytes > 1 {
        let unit = f.number(POINTER, bytes);
        offset = f.b.ins().imul(offset, unit);
    }
    Ok((f.b.ins().iadd(base, offset), displacement as i32))
}

/// Reads a `t` from `buf` at `index`.
pub(super) fn load(f: &mut Func<'_>, t: Type, buf: BufId, index: Operand) -> Result<Value, Fault> {
    let (place, displacement) = address(f, buf, index)?;
    let flags = load_flags(f, buf, index);
    if t.is_vector() && t.bytes() < REGISTER {
        let word = f.b.ins().load(Func::word_of(t.bytes()), flags, place, displacement);
        return Ok(f.loaded(word, form(t)));
    }
    Ok(f.b.ins().load(form(t), flags, place, displacement))
}

/// Writes `value` to `buf` at `index`; an immediate has the buffer's element type.
pub(super) fn store(f: &mut Func<'_>, buf: BufId, index: Operand, value: Operand) -> Result<(), Fault> {
    let elem = f.kernel.buffers[buf].elem;
    let t = f.type_of(value, elem);
    if t.scalar == Scalar::Bool {
        return Err(Fault("a bool has no memory form".into()));
    }
    let mut value = f.operand(value, elem)?;
    let (place, displacement) = address(f, buf, index)?;
    let flags = flags(f.buffers[buf.index()]);
    if t.is_vector() && t.bytes() < REGISTER {
        value = f.word(value, t.bytes());
    }
    f.b.ins().store(flags, value, place, displacement);
    Ok(())
}

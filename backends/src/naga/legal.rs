//! What this back end cannot say for a target: all of it, so that what passes is emitted.
//!
//! Types first: a value without a form in naga is reported once, as such. Then what its expression or statement asks for,
//! then the limits of the device.

use super::types::{self, Form, Halves};
use crate::{Unsupported, object};
use slmc_ir::kernel::{BinaryOp, Buffer, Builtin, Def, Expr, Kernel, KernelModule, Operand, Scalar, Space, Stmt, Type, UnaryOp, Value, ValueId};
use slmc_ir::target::{Gpu, GpuApi, Target};
use std::collections::BTreeSet;

/// Most parameters: the binary ABI has a bit for each. Metal has 31 buffers, one of them the step's.
const MOST_PARAMS: u32 = 32;
const METAL_PARAMS: u32 = 30;

/// Most workgroup arrays: the binary ABI has a size for each.
const MOST_WORKGROUP: usize = 8;

/// Most bytes of private arrays and variables that an invocation may have.
const PRIVATE: u64 = 16 << 10;

/// Most tiles along an axis that every device takes.
const MOST_TILES: u32 = 65_535;

/// Most bytes of a type in naga.
const MOST_TYPE: u64 = i32::MAX as u64;

/// What is wrong, and what to do.
type Finding = (String, &'static str);

const GPU_TYPES: &str = "use vectors of 2 or 4 of f32, i32, u32, of 4, 8 or 16 bytes, of 2 or 4 halves (8, if only moved)";
const UNPACK: &str = "convert to 32-bit numbers, compute, convert back";
const MEMORY: &str = "reduce in workgroup memory, or choose a target with subgroups";
const LEGALIZE: &str = "legalize the module for this target first";

/// Everything unsupported, in the order of the module.
pub(super) fn unsupported(module: &KernelModule, target: &Target) -> Vec<Unsupported> {
    let mut found = Vec::new();
    let at = format!("target `{}`", target.name);
    if object::format(target.triple).is_none() {
        let what = format!("objects for `{}`", target.triple);
        found.push(Unsupported { at: at.clone(), what, hint: "expected a Linux or Android triple of x86_64 or aarch64, or an Apple one of aarch64" });
    }
    let Some(gpu) = &target.gpu else {
        found.push(Unsupported { at, what: "it has no GPU".into(), hint: "choose a Vulkan or Metal target" });
        return found;
    };
    for (_, kernel) in module.kernels.iter() {
        kernel_faults(kernel, gpu, &mut found);
    }
    found
}

fn kernel_faults(kernel: &Kernel, gpu: &Gpu, found: &mut Vec<Unsupported>) {
    let mut fault = |at: Option<String>, (what, hint): Finding| {
        let at = at.map_or(String::new(), |at| format!(", {at}"));
        found.push(Unsupported { at: format!("kernel `{}`{at}", kernel.name), what, hint });
    };
    for finding in limits(kernel, gpu) {
        fault(None, finding);
    }
    // Where no fault is found with packed halves, the kernel holds them so.
    let halves = if gpu.f16 { types::halves(kernel) } else { Halves::Packed };
    let no_form = |ty: Type| Form::of(ty, halves).is_none().then(|| (format!("the type {ty}"), GPU_TYPES));
    for (id, buffer) in kernel.buffers.iter() {
        for finding in no_form(buffer.elem).into_iter().chain(buffer_faults(buffer, gpu)) {
            fault(Some(format!("{id} %{}", buffer.name)), finding);
        }
    }
    for (id, ty) in kernel.vars.iter() {
        if let Some(finding) = no_form(*ty) {
            fault(Some(id.to_string()), finding);
        }
    }
    for (id, value) in kernel.values.iter() {
        if let Some(finding) = no_form(value.ty).or_else(|| value_fault(kernel, value, halves, gpu)) {
            fault(Some(id.to_string()), finding);
        }
    }
    let mut seen = BTreeSet::new();
    types::walk(&kernel.body, &mut |stmt| {
        if let Some((at, finding)) = stmt_fault(kernel, stmt, gpu)
            && seen.insert(at.clone())
        {
            fault(Some(at), finding);
        }
    });
}

/// The device's limits on a kernel.
fn limits(kernel: &Kernel, gpu: &Gpu) -> Vec<Finding> {
    let mut found = Vec::new();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if kernel.name.is_empty() || !kernel.name.chars().all(word) {
        found.push(("its name is not an identifier".into(), "use letters, digits and underscores"));
    }
    if kernel.lanes > gpu.lanes {
        found.push((format!("a workgroup of {} lanes; the target's have at most {}", kernel.lanes, gpu.lanes), "lower it for this target"));
    }
    if kernel.grid.iter().any(|&n| n > MOST_TILES) {
        found.push((format!("the grid {:?}; at most {MOST_TILES} tiles an axis", kernel.grid), "give a tile more rows, or use another axis"));
    }
    let params = kernel.params().count() as u32;
    let most = gpu.storage_buffers.min(if gpu.api == GpuApi::Metal { METAL_PARAMS } else { MOST_PARAMS });
    if params > most {
        found.push((format!("{params} parameters; the target binds at most {most}"), "split the kernel, or pack two buffers into one"));
    }
    let of = |space: Space| kernel.buffers.iter().filter(move |(_, b)| b.space == space);
    let bytes = |b: &Buffer| u64::from(b.len) * u64::from(b.elem.bytes());
    let shared: u64 = of(Space::Workgroup).map(|(_, b)| bytes(b).next_multiple_of(u64::from(super::WORKGROUP_UNIT))).sum();
    if shared > u64::from(gpu.shared_bytes) {
        found.push((format!("workgroup arrays of {shared} bytes; the target has {}", gpu.shared_bytes), "use smaller tiles"));
    }
    let arrays = of(Space::Workgroup).count();
    if arrays > MOST_WORKGROUP {
        found.push((format!("{arrays} workgroup arrays; at most {MOST_WORKGROUP}"), "put arrays of one element type into one"));
    }
    let private: u64 = of(Space::Private).map(|(_, b)| bytes(b)).sum();
    if private > PRIVATE {
        found.push((format!("private arrays of {private} bytes; at most {PRIVATE}"), "use smaller tiles, or workgroup memory"));
    }
    found
}

fn buffer_faults(buffer: &Buffer, gpu: &Gpu) -> Option<Finding> {
    if buffer.len == 0 {
        return Some(("an empty buffer".into(), "leave it out"));
    }
    let bytes = u64::from(buffer.len) * u64::from(buffer.elem.bytes());
    let most = gpu.binding_bytes.min(MOST_TYPE);
    (buffer.space == Space::Param && bytes > most)
        .then(|| (format!("{bytes} bytes; the target binds at most {most}"), "split it by rows into several dispatches"))
}

/// What is wrong with a value whose type has a form.
fn value_fault(kernel: &Kernel, value: &Value, halves: Halves, gpu: &Gpu) -> Option<Finding> {
    let Def::Expr(e) = &value.def else { return None };
    let to = value.ty;
    let of = |o: Operand| kernel.operand_type(o);
    // An operand without a form is reported where it is defined.
    let packed = |ty: Type| matches!(Form::of(ty, halves), Some(Form::Packed(_)));
    let operand_packed = |o: Operand| of(o).filter(|t| packed(*t));
    match e {
        Expr::Unary(UnaryOp::Exp | UnaryOp::Tanh, _) => Some(("exp and tanh".into(), LEGALIZE)),
        Expr::Unary(UnaryOp::Not, _) => None,
        Expr::Binary(BinaryOp::Add, Operand::Imm(_), Operand::Imm(_)) => None,
        Expr::Binary(BinaryOp::And | BinaryOp::Or | BinaryOp::Xor, ..) => None,
        Expr::Binary(BinaryOp::Shl | BinaryOp::Shr, _, Operand::Imm(_)) => None,
        Expr::Binary(BinaryOp::Shl | BinaryOp::Shr, ..) if packed(to) => {
            Some((format!("a shift of {to} by other than a constant"), "shift by a constant, or convert to i32"))
        }
        Expr::Unary(..) | Expr::Binary(..) | Expr::Fma(..) => packed(to).then(|| (format!("arithmetic on {to}"), UNPACK)),
        Expr::Cmp(_, a, _) => operand_packed(*a).map(|t| (format!("comparison of {t}"), UNPACK)),
        Expr::Select(c, ..) => {
            (packed(to) && of(*c).is_some_and(Type::is_vector)).then(|| (format!("selection among the lanes of {to}"), "select by one condition"))
        }
        Expr::Convert(a) => of(*a).and_then(|from| conversion_fault(from, to, halves)),
        Expr::Builtin(Builtin::Subgroup | Builtin::SubgroupLane | Builtin::Subgroups) if !gpu.subgroups => Some(("subgroups".into(), MEMORY)),
        Expr::Bitcast(_) | Expr::Builtin(_) => None,
        Expr::Dot4 { .. } if !gpu.int_dot => Some(("dot4".into(), LEGALIZE)),
        Expr::Dot4 { a, max_a, .. } => (of(*a).is_some_and(|t| t.scalar == Scalar::U8) && *max_a > 127)
            .then(|| (format!("dot4 of u8 up to {max_a} and i8"), "keep the u8 within 127, or legalize the module first")),
        Expr::Dot2(..) => Some(("dot2".into(), "keep the dot4 that it was made of, or convert to i32")),
        Expr::Mmla(..) => Some(("mmla".into(), "use dot4: no GPU target has products of byte matrices")),
        Expr::Repeat(a) => repeat_fault(of(*a)?, to, halves),
        Expr::Extract(a, _) => operand_packed(*a).map(|t| (format!("a lane of {t}"), "convert to 32-bit numbers first")),
        Expr::Shuffle(a, ..) => operand_packed(*a).map(|t| (format!("a shuffle of {t}"), "convert to 32-bit numbers first")),
        Expr::Reduce(_, a) => operand_packed(*a).map(|t| (format!("a reduction of {t}"), UNPACK)),
    }
}

/// Packed words convert where their lanes fit a vector of naga.
fn conversion_fault(from: Type, to: Type, halves: Halves) -> Option<Finding> {
    let bytes = |t: Type| matches!(t.scalar, Scalar::I8 | Scalar::U8);
    let packed_half = |t: Type| t.scalar == Scalar::F16 && halves == Halves::Packed;
    if from == to || (bytes(from) && bytes(to)) {
        return None;
    }
    let wide = |t: Type| t.lanes > 4 && (bytes(t) || packed_half(t));
    if wide(from) || wide(to) {
        return Some((format!("conversion of {from} to {to}"), "convert four lanes at a time"));
    }
    let twice = packed_half(to) && matches!(from.scalar, Scalar::I32 | Scalar::U32);
    twice.then(|| (format!("conversion of {from} to {to}"), "convert to f32 first"))
}

/// What is repeated must be whole words or lanes.
fn repeat_fault(from: Type, to: Type, halves: Halves) -> Option<Finding> {
    let shapes = (Form::of(from, halves)?.shape(), Form::of(to, halves)?.shape());
    let ((_, have), (_, want)) = shapes;
    (!want.is_multiple_of(have)).then(|| (format!("{from} repeated to {to}"), "use powers of two"))
}

/// What is wrong with a statement, and where.
fn stmt_fault(kernel: &Kernel, stmt: &Stmt, gpu: &Gpu) -> Option<(String, Finding)> {
    const SAME: &str = "bind the bytes as a buffer of that element";
    let value = |v: ValueId| kernel.values.get(v).map(|v| v.ty);
    match stmt {
        Stmt::Load { dst, buf, .. } => {
            let (elem, ty) = (kernel.buffers.get(*buf)?.elem, value(*dst)?);
            (elem != ty).then(|| (dst.to_string(), (format!("a load of {ty} from a buffer of {elem}"), SAME)))
        }
        Stmt::Store { buf, value: Operand::Value(v), .. } => {
            let (elem, ty) = (kernel.buffers.get(*buf)?.elem, value(*v)?);
            (elem != ty).then(|| (format!("store {buf}, {v}"), (format!("a store of {ty} to a buffer of {elem}"), SAME)))
        }
        Stmt::Subgroup { dst, op, .. } => (!gpu.subgroups).then(|| (dst.to_string(), (format!("subgroup {op}"), MEMORY))),
        Stmt::Let(_) | Stmt::Store { .. } | Stmt::Prefetch { .. } | Stmt::Var { .. } | Stmt::Get { .. } | Stmt::Set { .. } => None,
        Stmt::For { .. } | Stmt::If { .. } | Stmt::Barrier => None,
    }
}

//! What other objects see: `slmc_k_<kernel>`, `slmc_kernels` and `slmc_code`, all hidden.
//!
//! A kernel is two functions: the one the stub calls, which unpacks the bindings and the step, and an internal one whose
//! parameters are the buffers, so that each can be `noalias`, `dereferenceable` and `readonly` or `writeonly`.

use super::func::Func;
use super::{Fault, machine, stmt};
use crate::{cpu, symbols};
use inkwell::AddressSpace;
use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::context::Context;
use inkwell::module::{Linkage, Module};
use inkwell::types::BasicMetadataTypeEnum;
use inkwell::values::{BasicMetadataValueEnum, FunctionValue, GlobalValue, IntValue};
use inkwell::{GlobalVisibility, builder::Builder};
use slmc_ir::kernel::{Access, Buffer, Kernel};
use slmc_ir::target::Target;

/// Writes a kernel into a module of its own.
pub(super) fn kernel<'ctx>(cx: &'ctx Context, module: &Module<'ctx>, kernel: &Kernel, target: &Target) -> Result<(), Fault> {
    let (ptr, int) = (cx.ptr_type(AddressSpace::default()), cx.i32_type());
    let params: Vec<&Buffer> = kernel.params().map(|(_, b)| b).collect();

    let mut types: Vec<BasicMetadataTypeEnum<'ctx>> = vec![ptr.into(); params.len()];
    types.extend([BasicMetadataTypeEnum::from(int); 6]);
    let tile = module.add_function("tile", cx.void_type().fn_type(&types, false), Some(Linkage::Internal));
    let shell_type = cx.void_type().fn_type(&[ptr.into(), ptr.into(), int.into(), int.into(), int.into()], false);
    let shell = module.add_function(&cpu::symbol(&kernel.name), shell_type, None);
    shell.as_global_value().set_visibility(GlobalVisibility::Hidden);
    for f in [tile, shell] {
        attributes(cx, f, target);
    }
    flag(cx, tile, AttributeLoc::Function, "noinline", 0);
    for (i, buffer) in params.iter().enumerate() {
        parameter(cx, tile, i as u32, buffer);
    }

    let b = cx.create_builder();
    write_shell(cx, &b, shell, tile, kernel, params.len())?;
    b.position_at_end(cx.append_basic_block(tile, "entry"));
    let arg = |i: usize| tile.get_nth_param(i as u32).ok_or_else(|| Fault("a parameter is missing".into()));
    let mut step = [int.const_zero(); 6];
    let known = cpu::fixed(kernel);
    for (i, value) in step.iter_mut().enumerate() {
        *value = match known[i] {
            Some(n) => int.const_int(u64::from(n), false),
            None => arg(params.len() + i)?.into_int_value(),
        };
    }
    let mut f = Func::new(cx, module, b, kernel, target, tile, step)?;
    stmt::block(&mut f, &kernel.body)?;
    f.b.build_return(None)?;
    Ok(())
}

/// The function that the stub calls: `(bindings: *const *mut u8, step: *const [u32; 4], x, y, z: u32)`.
fn write_shell<'ctx>(
    cx: &'ctx Context,
    b: &Builder<'ctx>,
    shell: FunctionValue<'ctx>,
    tile: FunctionValue<'ctx>,
    kernel: &Kernel,
    params: usize,
) -> Result<(), Fault> {
    let (ptr, int) = (cx.ptr_type(AddressSpace::default()), cx.i32_type());
    b.position_at_end(cx.append_basic_block(shell, "entry"));
    let arg = |i: u32| shell.get_nth_param(i).ok_or_else(|| Fault("a parameter is missing".into()));
    let (bindings, step) = (arg(0)?.into_pointer_value(), arg(1)?.into_pointer_value());
    let mut args: Vec<BasicMetadataValueEnum<'ctx>> = Vec::new();
    for i in 0..params {
        let place = super::memory::element(cx, b, bindings, ptr.into(), i as u32)?;
        args.push(b.build_load(ptr, place, "")?.into());
    }
    for i in 0..3 {
        let place = super::memory::element(cx, b, step, int.into(), i)?;
        args.push(b.build_load(int, place, "")?.into());
    }
    for i in 2..5 {
        args.push(arg(i)?.into());
    }
    // What the bounds fix is not passed on.
    for (i, known) in cpu::fixed(kernel).into_iter().enumerate() {
        if let Some(n) = known {
            args[params + i] = int.const_int(u64::from(n), false).into();
        }
    }
    b.build_call(tile, &args, "")?;
    b.build_return(None)?;
    Ok(())
}

fn flag(cx: &Context, f: FunctionValue<'_>, at: AttributeLoc, name: &str, value: u64) {
    f.add_attribute(at, cx.create_enum_attribute(Attribute::get_named_enum_kind_id(name), value));
}

fn attributes(cx: &Context, f: FunctionValue<'_>, target: &Target) {
    let at = AttributeLoc::Function;
    flag(cx, f, at, "nounwind", 0);
    flag(cx, f, at, "norecurse", 0);
    let bits = target.vector_bits.to_string();
    let features = machine::features(target);
    // Without "no-builtins", copying loops would become calls of libc functions.
    let texts = [
        ("target-cpu", target.cpu),
        ("target-features", features.as_str()),
        ("prefer-vector-width", bits.as_str()),
        ("min-legal-vector-width", bits.as_str()),
        ("no-builtins", ""),
    ];
    for (name, value) in texts {
        f.add_attribute(at, cx.create_string_attribute(name, value));
    }
}

fn parameter(cx: &Context, f: FunctionValue<'_>, i: u32, buffer: &Buffer) {
    let at = AttributeLoc::Param(i);
    flag(cx, f, at, "noalias", 0);
    flag(cx, f, at, "nocapture", 0);
    flag(cx, f, at, "noundef", 0);
    flag(cx, f, at, "align", u64::from(buffer.align.max(1)));
    flag(cx, f, at, "dereferenceable", u64::from(buffer.len) * u64::from(buffer.elem.bytes()));
    match buffer.access {
        Access::Read => flag(cx, f, at, "readonly", 0),
        Access::Write => flag(cx, f, at, "writeonly", 0),
        Access::ReadWrite => {}
    }
}

/// Writes the module that the stub finds the kernels by: the code header and the table of `kernels`.
pub(super) fn table<'ctx>(cx: &'ctx Context, module: &Module<'ctx>, kernels: &[String], header: &[u8]) -> Result<(), Fault> {
    let (ptr, byte) = (cx.ptr_type(AddressSpace::default()), cx.i8_type());
    let shell_type = cx.void_type().fn_type(&[], false);
    let mut entries = Vec::new();
    for name in kernels {
        let f = module.add_function(name, shell_type, None);
        f.as_global_value().set_visibility(GlobalVisibility::Hidden);
        entries.push(f.as_global_value().as_pointer_value());
    }
    let table = module.add_global(ptr.array_type(entries.len() as u32), None, symbols::KERNELS);
    table.set_initializer(&ptr.const_array(&entries));
    table.set_alignment(64);
    let bytes: Vec<IntValue<'ctx>> = header.iter().map(|n| byte.const_int(u64::from(*n), false)).collect();
    let code = module.add_global(byte.array_type(header.len() as u32), None, symbols::CODE);
    code.set_initializer(&byte.const_array(&bytes));
    code.set_alignment(64);
    for global in [table, code] {
        hidden_constant(global);
    }
    Ok(())
}

fn hidden_constant(global: GlobalValue<'_>) {
    global.set_constant(true);
    global.set_visibility(GlobalVisibility::Hidden);
}

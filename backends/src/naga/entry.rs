//! Entry points: a kernel's buffers as variables of the module, what the launch gives as arguments, and the body.
//!
//! Parameter i is binding i of group 0. The step is 16 bytes of immediates: T, P, ROW, 0. Arrays that no device lays out
//! (workgroup and private) have a named type, because naga takes types of one name and shape for one, and types of storage
//! buffers carry a layout that others must not have.

use super::Fault;
use super::builder::{Builder, V};
use super::func::{Func, Given};
use super::stmt;
use super::types::{self, Form};
use naga::{
    AddressSpace, ArraySize, Binding, BuiltIn, EntryPoint, Expression, Function, FunctionArgument, GlobalVariable, Handle, Module, ResourceBinding,
    Scalar, ShaderStage, Span, StorageAccess, StructMember, Type, TypeInner,
};
use slmc_ir::kernel::{self, Access, Buffer, Def, Expr, Kernel, Space};
use std::collections::BTreeMap;
use std::num::NonZeroU32;

const NOWHERE: Span = Span::UNDEFINED;

/// Most bytes of an entry point's name.
pub(super) const MOST_NAME: usize = 63;

/// The entry point of the kernel with number `index`: `k<index>_<name>`, in the form that naga's writers of text leave as it
/// is (no two underscores in a row, one after a last digit), cut to [`MOST_NAME`] bytes.
pub(super) fn name(index: usize, kernel: &str) -> String {
    let mut out = format!("k{index}_");
    for c in kernel.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
        if out.len() + 1 < MOST_NAME && !(c == '_' && out.ends_with('_')) {
            out.push(c);
        }
    }
    out.truncate(out.trim_end_matches('_').len());
    if out.ends_with(|c: char| c.is_ascii_digit()) {
        out.push('_');
    }
    out
}

/// The variable of the step, which all kernels of a module share.
pub(super) fn step(module: &mut Module) -> Handle<GlobalVariable> {
    let word = types::numeric(&mut module.types, Scalar::U32, 1);
    let member = |(i, name): (usize, &str)| StructMember { name: Some(name.into()), ty: word, binding: None, offset: 4 * i as u32 };
    let members = ["t", "p", "row", "zero"].into_iter().enumerate().map(member).collect();
    let ty = module.types.insert(Type { name: Some("Step".into()), inner: TypeInner::Struct { members, span: 16 } }, NOWHERE);
    let variable = GlobalVariable {
        name: Some("step".into()),
        space: AddressSpace::Immediate,
        binding: None,
        ty,
        init: None,
        memory_decorations: naga::MemoryDecorations::empty(),
    };
    module.global_variables.append(variable, NOWHERE)
}

/// Adds `kernel` to a module. Returns the variables of its workgroup arrays with their bytes, in order.
pub(super) fn add(
    module: &mut Module,
    step: Handle<GlobalVariable>,
    kernel: &Kernel,
    name: String,
) -> Result<Vec<(Handle<GlobalVariable>, u32)>, Fault> {
    let halves = types::halves(kernel);
    let mut function = Function::default();
    let mut globals = BTreeMap::new();
    let mut workgroup = Vec::new();
    for (i, (id, buffer)) in kernel.buffers.iter().enumerate() {
        let (space, binding) = match buffer.space {
            Space::Private => continue,
            Space::Workgroup => (AddressSpace::WorkGroup, None),
            Space::Param => {
                let access = if buffer.access == Access::Read { StorageAccess::LOAD } else { StorageAccess::LOAD | StorageAccess::STORE };
                (AddressSpace::Storage { access }, Some(ResourceBinding { group: 0, binding: i as u32 }))
            }
        };
        let ty = array(module, buffer, halves)?;
        let variable =
            GlobalVariable { name: Some(buffer.name.clone()), space, binding, ty, init: None, memory_decorations: naga::MemoryDecorations::empty() };
        let variable = module.global_variables.append(variable, NOWHERE);
        globals.insert(id, variable);
        if buffer.space == Space::Workgroup {
            workgroup.push((variable, buffer.len * buffer.elem.bytes()));
        }
    }
    let arguments = arguments(module, kernel, &mut function);
    let mut private = BTreeMap::new();
    for (id, buffer) in kernel.buffers.iter().filter(|(_, b)| b.space == Space::Private) {
        private.insert(id, array(module, buffer, halves)?);
    }
    let mut b = Builder::new(&mut module.types, function);
    let mut builtins: BTreeMap<Given, V> = BTreeMap::new();
    for (i, given) in arguments.into_iter().enumerate() {
        builtins.insert(given, b.expr(Expression::FunctionArgument(i as u32)));
    }
    builtins.insert(Given::Step, b.expr(Expression::GlobalVariable(step)));
    let mut buffers = Vec::new();
    for (id, buffer) in kernel.buffers.iter() {
        buffers.push(match (globals.get(&id), private.get(&id)) {
            (Some(&variable), _) => b.expr(Expression::GlobalVariable(variable)),
            (None, Some(&ty)) => b.local(buffer.name.clone(), ty),
            (None, None) => return Err(Fault(format!("{id} has no variable"))),
        });
    }
    let mut vars = Vec::new();
    for (id, ty) in kernel.vars.iter() {
        let (scalar, lanes) = Form::of(*ty, halves).ok_or_else(|| Fault(format!("no form for {ty}")))?.shape();
        vars.push(b.variable(id.to_string(), scalar, lanes));
    }
    let mut f = Func { b, kernel, halves, values: vec![None; kernel.values.len()], buffers, vars, builtins };
    stmt::block(&mut f, &kernel.body)?;
    let function = f.b.finish();
    module.entry_points.push(EntryPoint {
        name,
        stage: ShaderStage::Compute,
        early_depth_test: None,
        workgroup_size: [kernel.lanes, 1, 1],
        workgroup_size_overrides: None,
        function,
        mesh_info: None,
        task_payload: None,
        incoming_ray_payload: None,
    });
    Ok(workgroup)
}

/// The array type of a buffer.
fn array(module: &mut Module, buffer: &Buffer, halves: types::Halves) -> Result<Handle<Type>, Fault> {
    let (scalar, lanes) = Form::of(buffer.elem, halves).ok_or_else(|| Fault(format!("no form for {}", buffer.elem)))?.shape();
    let base = types::numeric(&mut module.types, scalar, lanes);
    let size = NonZeroU32::new(buffer.len).ok_or_else(|| Fault(format!("%{} is empty", buffer.name)))?;
    let inner = TypeInner::Array { base, size: ArraySize::Constant(size), stride: buffer.elem.bytes() };
    let name = (buffer.space != Space::Param).then(|| "Local".to_owned());
    Ok(module.types.insert(Type { name, inner }, NOWHERE))
}

/// Declares an argument for each thing that the kernel asks of the launch, in order.
fn arguments(module: &mut Module, kernel: &Kernel, function: &mut Function) -> Vec<Given> {
    let mut used = std::collections::BTreeSet::new();
    for (_, value) in kernel.values.iter() {
        if let Def::Expr(Expr::Builtin(builtin)) = value.def {
            used.insert(given(builtin));
        }
    }
    used.remove(&Given::Step);
    let word = types::numeric(&mut module.types, Scalar::U32, 1);
    let tile = TypeInner::Vector { size: naga::VectorSize::Tri, scalar: Scalar::U32 };
    let tile = module.types.insert(Type { name: None, inner: tile }, NOWHERE);
    for given in &used {
        let (name, ty, builtin) = match given {
            Given::Step => continue,
            Given::Tile => ("tile", tile, BuiltIn::WorkGroupId),
            Given::Lane => ("lane", word, BuiltIn::LocalInvocationIndex),
            Given::Subgroup => ("subgroup", word, BuiltIn::SubgroupId),
            Given::SubgroupLane => ("subgroup_lane", word, BuiltIn::SubgroupInvocationId),
            Given::Subgroups => ("subgroups", word, BuiltIn::NumSubgroups),
        };
        function.arguments.push(FunctionArgument { name: Some(name.into()), ty, binding: Some(Binding::BuiltIn(builtin)) });
    }
    used.into_iter().collect()
}

fn given(builtin: kernel::Builtin) -> Given {
    match builtin {
        kernel::Builtin::T | kernel::Builtin::P | kernel::Builtin::Row => Given::Step,
        kernel::Builtin::Grid(_) => Given::Tile,
        kernel::Builtin::Lane => Given::Lane,
        kernel::Builtin::Subgroup => Given::Subgroup,
        kernel::Builtin::SubgroupLane => Given::SubgroupLane,
        kernel::Builtin::Subgroups => Given::Subgroups,
    }
}

//! The state of one function under construction.

use super::types;
use super::{Fault, memory};
use inkwell::builder::Builder;
use inkwell::context::Context;
use inkwell::intrinsics::Intrinsic;
use inkwell::module::Module;
use inkwell::types::BasicTypeEnum;
use inkwell::values::{BasicMetadataValueEnum, BasicValueEnum, FunctionValue, IntValue, PointerValue};
use slmc_ir::arena::{Arena, Id};
use slmc_ir::kernel::{Builtin, Kernel, Operand, Space, Type, ValueId, VarId};
use slmc_ir::target::Target;

/// Applies a builder method to integers or vectors of them.
macro_rules! on_ints {
    ($b:expr, $method:ident ( $x:expr $(, $y:expr)* )) => {{
        let x = $x;
        if x.is_vector_value() {
            inkwell::values::BasicValueEnum::from($b.$method(x.into_vector_value() $(, $y.into_vector_value())*, "")?)
        } else {
            inkwell::values::BasicValueEnum::from($b.$method(x.into_int_value() $(, $y.into_int_value())*, "")?)
        }
    }};
}

/// Applies a builder method to floats or vectors of them.
macro_rules! on_floats {
    ($b:expr, $method:ident ( $x:expr $(, $y:expr)* )) => {{
        let x = $x;
        if x.is_vector_value() {
            inkwell::values::BasicValueEnum::from($b.$method(x.into_vector_value() $(, $y.into_vector_value())*, "")?)
        } else {
            inkwell::values::BasicValueEnum::from($b.$method(x.into_float_value() $(, $y.into_float_value())*, "")?)
        }
    }};
}

pub(super) use {on_floats, on_ints};

/// Everything that the writers of one kernel share.
pub(super) struct Func<'a, 'ctx> {
    pub(super) cx: &'ctx Context,
    pub(super) module: &'a Module<'ctx>,
    pub(super) b: Builder<'ctx>,
    pub(super) kernel: &'a Kernel,
    pub(super) target: &'a Target,
    pub(super) function: FunctionValue<'ctx>,
    /// First byte of each buffer.
    pub(super) buffers: Vec<PointerValue<'ctx>>,
    /// `T`, `P`, `ROW`, then the tile's x, y, z.
    pub(super) step: [IntValue<'ctx>; 6],
    vars: Vec<PointerValue<'ctx>>,
    values: Arena<ValueId, Option<BasicValueEnum<'ctx>>>,
}

impl<'a, 'ctx> Func<'a, 'ctx> {
    /// Starts the body of `function`, whose first parameters are the kernel's and whose entry block is open in `b`.
    pub(super) fn new(
        cx: &'ctx Context,
        module: &'a Module<'ctx>,
        b: Builder<'ctx>,
        kernel: &'a Kernel,
        target: &'a Target,
        function: FunctionValue<'ctx>,
        step: [IntValue<'ctx>; 6],
    ) -> Result<Self, Fault> {
        let mut values = Arena::new();
        kernel.values.ids().for_each(|_| {
            values.push(None);
        });
        let mut func = Self { cx, module, b, kernel, target, function, buffers: Vec::new(), step, vars: Vec::new(), values };
        for (id, buffer) in kernel.buffers.iter() {
            let param = function.get_nth_param(id.index() as u32).filter(|_| buffer.space == Space::Param);
            let place = match param {
                Some(p) => p.into_pointer_value(),
                None => memory::array(&func, buffer)?,
            };
            func.buffers.push(place);
        }
        for (_, t) in kernel.vars.iter() {
            let place = func.b.build_alloca(types::ty(cx, *t), "")?;
            func.vars.push(place);
        }
        Ok(func)
    }

    /// Records what a value is.
    pub(super) fn define(&mut self, v: ValueId, value: BasicValueEnum<'ctx>) {
        self.values[v] = Some(value);
    }

    /// The place of a variable.
    pub(super) fn var(&self, var: VarId) -> PointerValue<'ctx> {
        self.vars[var.index()]
    }

    /// An operand, as a value of type `place` if it is an immediate.
    pub(super) fn operand(&self, operand: Operand, place: Type) -> Result<BasicValueEnum<'ctx>, Fault> {
        match operand {
            Operand::Value(v) => self.values[v].ok_or_else(|| Fault(format!("{v} is used before its definition"))),
            Operand::Imm(imm) => types::constant(self.cx, place, imm),
        }
    }

    /// The type of an operand, which takes `place` if it is an immediate.
    pub(super) fn type_of(&self, operand: Operand, place: Type) -> Type {
        self.kernel.operand_type(operand).unwrap_or(place)
    }

    /// An index.
    pub(super) fn index(&self, operand: Operand) -> Result<IntValue<'ctx>, Fault> {
        Ok(self.operand(operand, Type::INDEX)?.into_int_value())
    }

    /// A number of the launch or the step.
    pub(super) fn builtin(&self, b: Builtin) -> IntValue<'ctx> {
        match b {
            Builtin::T => self.step[0],
            Builtin::P => self.step[1],
            Builtin::Row => self.step[2],
            Builtin::Grid(axis) => self.step[3 + usize::from(axis.min(2))],
            Builtin::Lane | Builtin::Subgroup | Builtin::SubgroupLane => self.cx.i32_type().const_zero(),
            Builtin::Subgroups => self.cx.i32_type().const_int(1, false),
        }
    }

    /// Calls an intrinsic; `overload` are the types it is overloaded on.
    pub(super) fn intrinsic(
        &self,
        name: &str,
        overload: &[BasicTypeEnum<'ctx>],
        args: &[BasicMetadataValueEnum<'ctx>],
    ) -> Result<Option<BasicValueEnum<'ctx>>, Fault> {
        let missing = || Fault(format!("LLVM has no intrinsic {name}"));
        let decl = Intrinsic::find(name).and_then(|i| i.get_declaration(self.module, overload)).ok_or_else(missing)?;
        Ok(self.b.build_call(decl, args, "")?.try_as_basic_value().basic())
    }

    /// Calls an intrinsic that has a result.
    pub(super) fn compute(&self, name: &str, overload: &[BasicTypeEnum<'ctx>], args: &[BasicValueEnum<'ctx>]) -> Result<BasicValueEnum<'ctx>, Fault> {
        let args: Vec<BasicMetadataValueEnum<'ctx>> = args.iter().map(|a| (*a).into()).collect();
        self.intrinsic(name, overload, &args)?.ok_or_else(|| Fault(format!("the intrinsic {name} has no result")))
    }

    /// Same bits as another LLVM type.
    pub(super) fn bits(&self, v: BasicValueEnum<'ctx>, to: BasicTypeEnum<'ctx>) -> Result<BasicValueEnum<'ctx>, Fault> {
        if v.get_type() == to { Ok(v) } else { Ok(self.b.build_bit_cast(v, to, "")?) }
    }
}

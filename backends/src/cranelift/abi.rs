//! The function of a kernel: `(bindings: *const *mut u8, step: *const [u32; 4], x, y, z: u32)` in the system's convention.

use super::func::Func;
use super::types::POINTER;
use super::{Fault, memory, stmt};
use crate::cpu;
use cranelift_codegen::ir::types::I32;
use cranelift_codegen::ir::{AbiParam, Function, InstBuilder as _, Signature, UserFuncName};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use slmc_ir::kernel::Kernel;
use slmc_ir::target::Target;

/// Writes a kernel as a function.
pub(super) fn function(isa: &dyn TargetIsa, target: &Target, kernel: &Kernel) -> Result<Function, Fault> {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params.extend([POINTER, POINTER, I32, I32, I32].map(AbiParam::new));
    let mut function = Function::with_name_signature(UserFuncName::default(), signature);
    let mut shared = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut function, &mut shared);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let args = b.block_params(entry).to_vec();
    let [bindings, step, x, y, z] = args[..] else { return Err(Fault("a parameter is missing".into())) };

    let places: Vec<_> = (0..kernel.params().count()).map(|i| memory::argument(&mut b, bindings, POINTER, i)).collect();
    let mut numbers = [x, x, x, x, y, z];
    for (i, (number, known)) in numbers.iter_mut().zip(cpu::fixed(kernel)).enumerate() {
        match known {
            Some(n) => *number = b.ins().iconst(I32, i64::from(n)),
            None if i < 3 => *number = memory::argument(&mut b, step, I32, i),
            None => {}
        }
    }
    let mut f = Func::new(b, kernel, target, &places, numbers)?;
    stmt::block(&mut f, &kernel.body)?;
    f.b.ins().return_(&[]);
    f.b.finalize(isa.frontend_config());
    Ok(function)
}

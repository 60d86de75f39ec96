//! The LLVM back end: x86-64 and arm64 objects by LLVM 19.
//!
//! One LLVM module, and so one object, per kernel: kernels compile side by side, and the bytes of one never depend on how
//! many threads there were. Writers here say what the kernel IR says and nothing more; what a target lacks is legalized
//! before, and [`legal`] finds what was not, because LLVM ends the process on an instruction that it cannot select.

mod abi;
mod convert;
mod expr;
mod func;
mod legal;
mod machine;
mod memory;
mod stmt;
mod types;
mod vector;

use crate::{Artifact, Backend, BackendError, EmitOptions, ObjectFile, Unsupported, cpu, symbols};
use slmc_ir::diag::Verified;
use slmc_ir::kernel::{Kernel, KernelModule};
use slmc_ir::target::Target;

/// The back end.
pub struct Llvm;

const NAME: &str = "llvm";

impl Backend for Llvm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn unsupported(&self, module: &KernelModule, target: &Target) -> Vec<Unsupported> {
        legal::unsupported(module, target)
    }

    fn emit(&self, module: Verified<'_, KernelModule>, target: &Target, options: &EmitOptions) -> Result<Artifact, BackendError> {
        let found = self.unsupported(&module, target);
        if !found.is_empty() {
            return Err(BackendError::Unsupported { backend: NAME, found });
        }
        let kernels: Vec<&Kernel> = module.kernels.iter().map(|(_, k)| k).collect();
        let mut parts = cpu::on_threads(&kernels, options.threads, |kernel| {
            machine::emit(target, &cpu::symbol(&kernel.name), options.listing, |cx, m| abi::kernel(cx, m, kernel, target))
                .map_err(|fault| bug(&format!("kernel `{}`", kernel.name), fault))
        })?;
        let names: Vec<String> = kernels.iter().map(|k| cpu::symbol(&k.name)).collect();
        let table = machine::emit(target, symbols::TABLE, options.listing, |cx, m| abi::table(cx, m, &names, &options.header))
            .map_err(|fault| bug("the kernel table", fault))?;
        let mut objects = Vec::new();
        let mut listing = options.listing.then(String::new);
        let table_symbols = vec![symbols::CODE.to_owned(), symbols::KERNELS.to_owned()];
        parts.push(table);
        let own = names.iter().map(|n| (n.clone(), vec![n.clone()]));
        for ((name, symbols), part) in own.chain([(symbols::TABLE.to_owned(), table_symbols)]).zip(parts) {
            if let (Some(all), Some(text)) = (&mut listing, &part.listing) {
                all.push_str(text);
            }
            objects.push(ObjectFile { name, bytes: part.object, symbols });
        }
        Ok(Artifact { objects, listing, shaders: None })
    }
}

/// Why an LLVM module could not be made.
#[derive(Debug)]
struct Fault(String);

impl From<inkwell::builder::BuilderError> for Fault {
    fn from(e: inkwell::builder::BuilderError) -> Self {
        Fault(e.to_string())
    }
}

impl From<inkwell::support::LLVMString> for Fault {
    fn from(e: inkwell::support::LLVMString) -> Self {
        Fault(e.to_string())
    }
}

fn bug(at: &str, fault: Fault) -> BackendError {
    BackendError::Bug { backend: NAME, at: at.to_owned(), detail: fault.0 }
}

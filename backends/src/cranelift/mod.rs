//! The Cranelift back end: objects for x86-64 and aarch64 without any system package.
//!
//! One function, and so one object, per kernel, compiled side by side. Cranelift has vectors of 128 bits and no conversions of
//! 16-bit floats: [`fit`] takes both out of the target, so that lowering and legalization never ask for them, and [`legal`] finds
//! what did all the same. A vector of less than 16 bytes is held in a register whose other lanes hold anything.

mod abi;
mod convert;
mod expr;
mod fit;
mod func;
mod legal;
mod machine;
mod memory;
mod stmt;
mod types;
mod vector;

use crate::{Artifact, Backend, BackendError, EmitOptions, Unsupported, cpu, object};
use slmc_ir::diag::Verified;
use slmc_ir::kernel::{Kernel, KernelModule};
use slmc_ir::target::Target;

/// The back end.
pub struct Cranelift;

const NAME: &str = "cranelift";

impl Backend for Cranelift {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fit(&self, target: &Target) -> Target {
        fit::fit(target)
    }

    fn unsupported(&self, module: &KernelModule, target: &Target) -> Vec<Unsupported> {
        legal::unsupported(module, target)
    }

    fn emit(&self, module: Verified<'_, KernelModule>, target: &Target, options: &EmitOptions) -> Result<Artifact, BackendError> {
        let found = self.unsupported(&module, target);
        if !found.is_empty() {
            return Err(BackendError::Unsupported { backend: NAME, found });
        }
        let isa = machine::isa(target).map_err(|fault| bug(&format!("target `{}`", target.name), fault))?;
        let kernels: Vec<&Kernel> = module.kernels.iter().map(|(_, k)| k).collect();
        let compiled = cpu::on_threads(&kernels, options.threads, |kernel| {
            machine::emit(&*isa, target, kernel, options.listing).map_err(|fault| bug(&format!("kernel `{}`", kernel.name), fault))
        })?;
        let mut listing = options.listing.then(String::new);
        let mut objects = Vec::new();
        for part in compiled {
            if let (Some(all), Some(text)) = (&mut listing, &part.listing) {
                all.push_str(text);
            }
            objects.push(part.object);
        }
        let names: Vec<String> = kernels.iter().map(|k| cpu::symbol(&k.name)).collect();
        objects.push(object::table(target.triple, &names, &options.header).map_err(|detail| bug("the kernel table", Fault(detail)))?);
        Ok(Artifact { objects, listing, shaders: None })
    }
}

/// Why a function could not be made.
#[derive(Debug)]
struct Fault(String);

fn bug(at: &str, fault: Fault) -> BackendError {
    BackendError::Bug { backend: NAME, at: at.to_owned(), detail: fault.0 }
}

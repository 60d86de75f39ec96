//! LLVM's target machine: from a module to an object.
//!
//! Every pass option that may change results or depend on the version is set here: no loop or SLP vectorizer (the kernel IR
//! says what is a vector), no function merging.

use super::Fault;
use inkwell::OptimizationLevel;
use inkwell::context::Context;
use inkwell::module::Module;
use inkwell::passes::PassBuilderOptions;
use inkwell::targets::{CodeModel, FileType, InitializationConfig, RelocMode, Target as LlvmTarget, TargetMachine, TargetTriple};
use slmc_ir::target::Target;

/// An object and, where asked for, its assembly.
pub(super) struct Emitted {
    pub(super) object: Vec<u8>,
    pub(super) listing: Option<String>,
}

/// Builds a module with `build`, optimizes it and emits it.
pub(super) fn emit(
    target: &Target,
    name: &str,
    listing: bool,
    build: impl for<'ctx> FnOnce(&'ctx Context, &Module<'ctx>) -> Result<(), Fault>,
) -> Result<Emitted, Fault> {
    let machine = machine(target)?;
    let context = Context::create();
    let module = context.create_module(name);
    module.set_triple(&TargetTriple::create(target.triple));
    module.set_data_layout(&machine.get_target_data().get_data_layout());
    build(&context, &module)?;
    module.verify()?;
    let options = PassBuilderOptions::create();
    options.set_verify_each(false);
    options.set_loop_interleaving(false);
    options.set_loop_vectorization(false);
    options.set_loop_slp_vectorization(false);
    options.set_loop_unrolling(true);
    options.set_merge_functions(false);
    module.run_passes("default<O3>", &machine, options)?;
    // Code generation changes the module, so the listing is made from a copy.
    let copy = listing.then(|| module.clone());
    let object = machine.write_to_memory_buffer(&module, FileType::Object)?.as_slice().to_vec();
    let listing = match copy {
        Some(copy) => {
            let text = machine.write_to_memory_buffer(&copy, FileType::Assembly)?;
            Some(String::from_utf8_lossy(text.as_slice()).trim_end_matches('\0').to_owned())
        }
        None => None,
    };
    Ok(Emitted { object, listing })
}

fn machine(target: &Target) -> Result<TargetMachine, Fault> {
    LlvmTarget::initialize_x86(&InitializationConfig::default());
    let triple = TargetTriple::create(target.triple);
    LlvmTarget::from_triple(&triple)?
        .create_target_machine(&triple, target.cpu, &features(target), OptimizationLevel::Aggressive, RelocMode::PIC, CodeModel::Default)
        .ok_or_else(|| Fault(format!("no target machine for {}", target.triple)))
}

/// The target's features as LLVM writes them.
pub(super) fn features(target: &Target) -> String {
    let list: Vec<String> = target.features.iter().map(|f| format!("+{f}")).collect();
    list.join(",")
}

//! LLVM's target machine: from a module to an object.
//!
//! Every pass option that may change results or depend on the version is set here: no loop or SLP vectorizer (the kernel IR
//! says what is a vector), no function merging, no instruction scheduler: the order of a kernel's statements is the schedule.
//! LLVM's scheduler mixes the tokens of a prefill tile, whose registers then no longer suffice.

use super::Fault;
use inkwell::OptimizationLevel;
use inkwell::context::Context;
use inkwell::llvm_sys::support::LLVMParseCommandLineOptions;
use inkwell::module::Module;
use inkwell::passes::PassBuilderOptions;
use inkwell::targets::{CodeModel, FileType, InitializationConfig, RelocMode, Target as LlvmTarget, TargetMachine, TargetTriple};
use slmc_ir::target::Target;
use std::sync::Once;

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
    module.set_triple(&TargetTriple::create(triple(target)));
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
    static READY: Once = Once::new();
    READY.call_once(|| {
        LlvmTarget::initialize_x86(&InitializationConfig::default());
        LlvmTarget::initialize_aarch64(&InitializationConfig::default());
        let arguments = [c"slmc".as_ptr(), c"-enable-misched=false".as_ptr()];
        // SAFETY: the arguments are two C strings that live forever, LLVM 19 knows the option (it would end the process over
        // another), and `Once` keeps other threads from reading options while they are set.
        unsafe { LLVMParseCommandLineOptions(arguments.len() as i32, arguments.as_ptr(), c"".as_ptr()) };
    });
    let triple = TargetTriple::create(triple(target));
    LlvmTarget::from_triple(&triple)?
        .create_target_machine(&triple, target.cpu, &features(target), OptimizationLevel::Aggressive, RelocMode::PIC, CodeModel::Default)
        .ok_or_else(|| Fault(format!("no target machine for {}", target.triple)))
}

/// The triple as LLVM wants it: for Apple's systems with the oldest version that the code runs on, which the object records.
fn triple(target: &Target) -> &str {
    match target.triple {
        "aarch64-apple-ios" => "arm64-apple-ios15.0.0",
        "aarch64-apple-ios-sim" => "arm64-apple-ios15.0.0-simulator",
        "aarch64-apple-darwin" => "arm64-apple-macosx13.0.0",
        other => other,
    }
}

/// The target's features as LLVM writes them.
pub(super) fn features(target: &Target) -> String {
    let list: Vec<String> = target.features.iter().map(|f| format!("+{f}")).collect();
    list.join(",")
}

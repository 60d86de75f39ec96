//! A checkpoint compiled for a Metal target in memory: kernels as they are emitted, plan, weights, library text.

use std::path::{Path, PathBuf};
use std::time::Duration;

use slmc_backends::{EmitOptions, Shaders};
use slmc_ir::kernel::{KernelModule, verify_module};
use slmc_ir::plan::{Plan, Program, verify_plan};
use slmc_ir::target::Target;
use slmc_ir::target::known::find;
use slmc_passes::kernel::KERNEL_PASSES;
use slmc_passes::manager::{Drive, KERNEL_PIPELINE, PassCx, PassSpec, run};
use slmc_tests::compiled::compile;

/// The checkpoint of the examples.
pub fn warehouse() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/warehouse")
}

/// What a compile makes before it writes a bundle.
pub struct Compiled {
    pub kernels: KernelModule,
    pub plan: Plan,
    pub weights: Vec<u8>,
    pub shaders: Shaders,
}

/// Compiles `model` with graph passes `passes` for the target of this name, by the back end naga.
pub fn compile_for(model: &Path, target: &str, passes: &str, ctx: u32, chunk: u32) -> Compiled {
    let target: Target = find(target).expect("a known target");
    let lowered = compile(model, &target, passes, ctx, chunk);
    let weights = lowered.weights;
    let mut program = Program::from(lowered.lowered);
    let (matches, clock) = (|_: &str, _: &str| Ok(false), || Duration::ZERO);
    let mut cx = PassCx::new(&matches, &clock);
    cx.target = Some(&target);
    run(&mut program, &PassSpec::list(KERNEL_PIPELINE), KERNEL_PASSES, &mut cx, &mut Drive::default()).unwrap_or_else(|e| panic!("{e}"));
    let (kernels, plan) = (program.kernels, program.plan.expect("lowering makes a plan"));
    verify_plan(&plan, &kernels).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let verified = verify_module(&kernels).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let backend = slmc_backends::lookup("naga").unwrap_or_else(|e| panic!("{e}"));
    let artifact = backend.emit(verified, &target, &EmitOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    let shaders = artifact.shaders.expect("a target with a GPU has shaders");
    Compiled { kernels, plan, weights, shaders }
}

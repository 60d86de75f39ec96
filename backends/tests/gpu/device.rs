//! Runs cases on the machine's Vulkan device.

use crate::case::{self, Case, compare, emit, interpret, step, target};
use crate::spirv::words;
use crate::{spirv, vulkan};
use slmc_ir::target::GpuApi;

/// Emits all cases for both APIs and compares what a device computes with the interpreter.
pub fn check(able: bool, cases: &[Case]) {
    let module = case::module(cases);
    emit(&module, &target(GpuApi::Metal, able), true);
    let artifact = emit(&module, &target(GpuApi::Vulkan, able), true);
    let shaders = artifact.shaders.as_ref().expect("a GPU's artifact has shaders");
    for (i, (case, shader)) in cases.iter().zip(&shaders.kernels).enumerate() {
        let words = words(&artifact, i);
        spirv::check(&words, &case.kernel.name);
        let Some(device) = vulkan::device() else { continue };
        let device = device.lock().unwrap_or_else(|broken| broken.into_inner());
        let expected = interpret(case, device.subgroup);
        let job = vulkan::Job { words: &words, entry: &shader.entry, buffers: &case.buffers, step: step(), grid: case.grid };
        let found = device.run(&job).unwrap_or_else(|e| panic!("{}: {e}", case.kernel.name));
        for (p, (expected, found)) in expected.iter().zip(&found).enumerate() {
            compare(case, p, expected, found);
        }
    }
}

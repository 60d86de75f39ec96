//! Programs that come from no checkpoint, made runnable: kernels and a plan without weights become a folder that the engine opens.

use std::fs;
use std::io;
use std::path::Path;

use slmc_ir::plan::Program;
use slmc_passes::kernel::KERNEL_PASSES;
use slmc_passes::manager::{self, PassSpec};
use slmc_runtime_stub::abi::ABI_VERSION;

use super::dump::Dumper;
use super::phase::Timer;
use super::{CompileError, CompileOptions, Silent, code, run_passes, verify};
use crate::bundle::digest::FileHasher;
use crate::bundle::manifest::{Build, FORMAT_VERSION, FileEntry, Memory, Model, Privacy, Quantization, TargetInfo};
use crate::bundle::{BundleError, Digest, Manifest, PLAN, WEIGHTS, code_name, plan_bin};

/// Compiles the program for the options' target into `dir`: code, plan, and weights of one page that nothing reads. The folder is no
/// bundle, as it has no manifest.
///
/// # Errors
/// Those of a compile from the passes over kernels on.
pub fn compile_program(mut program: Program, options: &CompileOptions, dir: &Path) -> Result<(), CompileError> {
    let backend = code::backend(options)?;
    let options = &code::fitted(backend, options);
    let (mut dumper, mut timer) = (Dumper::new(None)?, Timer::new(&Silent));
    run_passes(&mut program, &PassSpec::list(manager::KERNEL_PIPELINE), KERNEL_PASSES, options, &mut dumper, &mut timer)?;
    let Program { kernels, plan } = program;
    let Some(mut plan) = plan else { return Ok(()) };
    let target = &options.target.target;
    plan.weights_bytes = target.page_bytes.into();
    let emitted = code::emit(backend, verify(&kernels, &plan)?, options, false)?;
    let name = "program";
    let Some((linked, _)) = code::link(&emitted, options, name)? else { return Ok(()) };
    let weights = vec![0; target.page_bytes as usize];
    let mut hasher = FileHasher::default();
    hasher.update(&weights);
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        model: Model { name: name.to_owned(), architecture: String::new(), parameters: 0, licence: None, source_digest: Digest([0; 32]) },
        target: TargetInfo {
            name: options.target.text.clone(),
            triple: target.triple.to_owned(),
            cpu: target.cpu.to_owned(),
            features: target.features.iter().map(|&feature| feature.to_owned()).collect(),
            backend: backend.name().to_owned(),
            runtime: Some(code_name(target.triple).to_owned()),
            symbol_prefix: None,
            gpu: None,
        },
        minimum_runtime: ABI_VERSION,
        quantization: Quantization { scheme: String::new(), kv: "none".to_owned(), bits_per_weight: 0.0, tensors: Vec::new() },
        memory: Memory { weights: 0, arena: plan.arena_bytes, kv_per_token: 0, kv: 0, peak: plan.arena_bytes },
        context: plan.ctx,
        decided_by_context: Vec::new(),
        prefill_chunk: plan.chunk,
        kernels: Vec::new(),
        files: vec![FileEntry::new(WEIGHTS, &hasher.finish(), true)],
        privacy: Privacy { undefined_symbols: Vec::new(), network_symbols: Vec::new() },
        build: Build { compiler: String::new(), linker: String::new(), options: Vec::new(), passes: Vec::new() },
        digest: Digest([0; 32]),
    };
    let plan = plan_bin::write(&plan, &emitted.identity, &manifest, target.page_bytes, target.cores)?;
    for (file, bytes) in [(code_name(target.triple), &linked.bytes), (PLAN, &plan), (WEIGHTS, &weights)] {
        let path = dir.join(file);
        fs::write(&path, bytes).map_err(|e: io::Error| BundleError::Write { path, detail: e.to_string() })?;
    }
    Ok(())
}

//! Programs without weights, made runnable: kernels and a plan become a folder that the engine opens, with zeros for weights. What only
//! the time of kernels matters for is measured so.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use slmc_ir::plan::Program;
use slmc_passes::kernel::KERNEL_PASSES;
use slmc_passes::manager::{self, PassSpec};
use slmc_runtime_stub::abi::ABI_VERSION;

use super::dump::Dumper;
use super::phase::Timer;
use super::{CompileError, CompileOptions, Silent, code, run_passes, verify};
use crate::bundle::digest::{FileDigest, FileHasher};
use crate::bundle::manifest::{Build, FORMAT_VERSION, FileEntry, Memory, Model, Privacy, Quantization, TargetInfo};
use crate::bundle::{BundleError, Digest, Manifest, PLAN, WEIGHTS, code_name, plan_bin};

/// Compiles the program for the options' target into `dir`: code, plan, and weights that are zero, for which the file system needs no room
/// if it keeps sparse files. The folder is no bundle, as it has no manifest. A program without weights gets a page of them.
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
    plan.weights_bytes = plan.weights_bytes.max(target.page_bytes.into());
    let emitted = code::emit(backend, verify(&kernels, &plan)?, options, false)?;
    let name = "program";
    let Some((linked, _)) = code::link(&emitted, options, name)? else { return Ok(()) };
    let write_error = |file: &str| {
        let path = dir.join(file);
        move |e: io::Error| BundleError::Write { path: path.clone(), detail: e.to_string() }
    };
    let weights = File::create(dir.join(WEIGHTS)).and_then(|file| file.set_len(plan.weights_bytes));
    weights.map_err(write_error(WEIGHTS))?;
    let manifest_of_weights = FileEntry::new(WEIGHTS, &zeros(plan.weights_bytes), true);
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
        memory: Memory {
            weights: plan.weights_bytes,
            arena: plan.arena_bytes,
            kv_per_token: 0,
            kv: plan.kv_bytes,
            peak: plan.weights_bytes + plan.arena_bytes + plan.kv_bytes,
        },
        context: plan.ctx,
        decided_by_context: Vec::new(),
        prefill_chunk: plan.chunk,
        kernels: Vec::new(),
        files: vec![manifest_of_weights],
        privacy: Privacy { undefined_symbols: Vec::new(), network_symbols: Vec::new() },
        build: Build { compiler: String::new(), linker: String::new(), options: Vec::new(), passes: Vec::new() },
        digest: Digest([0; 32]),
    };
    let plan = plan_bin::write(&plan, &emitted.identity, &manifest, target.page_bytes, target.cores)?;
    for (file, bytes) in [(code_name(target.triple), &linked.bytes), (PLAN, &plan)] {
        fs::write(dir.join(file), bytes).map_err(write_error(file))?;
    }
    Ok(())
}

/// The digests of so many zeros.
fn zeros(bytes: u64) -> FileDigest {
    let piece = vec![0; 1 << 20];
    let mut hasher = FileHasher::default();
    let mut left = bytes;
    while left > 0 {
        let n = left.min(piece.len() as u64);
        hasher.update(&piece[..n as usize]);
        left -= n;
    }
    hasher.finish()
}

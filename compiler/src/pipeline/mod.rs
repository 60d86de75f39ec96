//! A compile from end to end: checkpoint in, bundle out.
//!
//! The phases run in the order of [`phase::PHASES`]; each is timed and, on request, dumped. Nothing here prints: what a
//! caller wants to show goes through [`Progress`] and [`CompileReport`]. A failure at any point leaves the target of the
//! compile as it was.

mod card;
mod code;
mod dump;
mod error;
mod hand_made;
mod memory;
mod options;
mod pack;
pub mod phase;
mod report;
mod write;

use std::time::Instant;

use slmc_ir::diag::{Verified, VerifyError};
use slmc_ir::graph::Graph;
use slmc_ir::kernel::{KernelModule, verify_module};
use slmc_ir::plan::{Plan, Program, verify_plan};
use slmc_ir::target::Target;
use slmc_passes::graph::GRAPH_PASSES;
use slmc_passes::kernel::KERNEL_PASSES;
use slmc_passes::lower;
use slmc_passes::manager::{self, Drive, PassCx, PassInfo, PassSpec, Phase, Subject};

use crate::bundle::{Stage, kernel_work, stage};
use crate::import::{self, ImportOptions, Imported};
use crate::tokenizer::{ChatSupport, CompiledTokenizer, TokenizerOptions};

pub use error::CompileError;
pub use hand_made::compile_program;
pub use memory::{MemoryPlan, human};
pub use options::{CompileOptions, name_matches, parse_quant, parse_template_value, quantize_spec};
pub use phase::{PhaseTime, Progress, Silent};
pub use report::{CompileReport, Outcome};

use dump::Dumper;
use phase::Timer;

/// Compiles a checkpoint into a bundle, or up to the phase after which to stop.
///
/// # Errors
/// Everything that is wrong with the first phase that fails.
pub fn compile(options: &CompileOptions, progress: &dyn Progress) -> Result<Outcome, CompileError> {
    match options.threads {
        None => compile_here(options, progress),
        Some(threads) => {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build();
            let pool = pool.map_err(|e| CompileError::Threads { threads, detail: e.to_string() })?;
            pool.install(|| compile_here(options, progress))
        }
    }
}

fn compile_here(options: &CompileOptions, progress: &dyn Progress) -> Result<Outcome, CompileError> {
    let quantize = quantize_spec(options)?;
    let stop = options.stop_after.as_deref();
    if let Some(name) = stop {
        phase::check(name)?;
    }
    let needs_code = stop.is_none_or(|name| phase::index(name) >= phase::index("codegen"));
    let backend = match code::backend(options) {
        Ok(backend) => Some(backend),
        Err(error) if needs_code => return Err(error),
        Err(_) => None,
    };
    // From here on, the target is what the code generator can use of it.
    let fitted = backend.map(|backend| code::fitted(backend, options));
    let options = fitted.as_ref().unwrap_or(options);
    if stop.is_none() {
        stage::check_target(&options.output, options.force)?;
    }
    let mut timer = Timer::new(progress);
    let mut dumper = Dumper::new(options.dump_ir.as_deref())?;
    let stopped = |timer: Timer<'_>, phase: &str, warnings: &[String]| {
        Ok(Outcome::Stopped { after: phase.to_owned(), times: timer.finish(), warnings: warnings.to_vec() })
    };

    let mut imported = timer.run("import", phase::checkpoint_bytes(&options.model), |tick| import_checkpoint(options, tick))?;
    let mut warnings: Vec<String> = imported.warnings.iter().map(ToString::to_string).collect();
    warnings.extend(backend.and_then(|backend| code::slower(backend, options)));
    dumper.text("import", &imported.graph.to_string())?;
    if stop == Some("import") {
        return stopped(timer, "import", &warnings);
    }
    let rows = u32::try_from(imported.summary.vocab).unwrap_or(u32::MAX);
    let tokenizer = timer.run("tokenizer", None, |_| compile_tokenizer(options, rows, &mut warnings))?;

    let specs = pass_list(quantize);
    let ran = run_passes(&mut imported.graph, &specs, GRAPH_PASSES, options, &mut dumper, &mut timer)?;
    if let Some(name) = stop.filter(|name| ran.stopped_at(name)) {
        return stopped(timer, name, &warnings);
    }

    let lowered = timer.run("lower", None, |_| lower::lower(&imported.graph, &options.target.target))?;
    let mut program = Program::from(lowered);
    let kernels_take = kernel_work::entries(&program);
    dumper.text("lower", &program.to_string())?;
    if stop == Some("lower") {
        return stopped(timer, "lower", &warnings);
    }
    let kernel_specs = PassSpec::list(manager::KERNEL_PIPELINE);
    let ran = run_passes(&mut program, &kernel_specs, KERNEL_PASSES, options, &mut dumper, &mut timer)?;
    if let Some(name) = stop.filter(|name| ran.stopped_at(name)) {
        return stopped(timer, name, &warnings);
    }
    let Program { kernels, plan } = program;
    let plan = plan.expect("invariant: lowering makes a plan and no pass drops it");
    let verified = timer.run("verify", None, |_| verify(&kernels, &plan))?;
    if stop == Some("verify") {
        return stopped(timer, "verify", &warnings);
    }

    let backend = backend.ok_or_else(|| CompileError::Threads { threads: 0, detail: "no back end was chosen".to_owned() })?;
    let emitted = timer.run("codegen", None, |_| code::emit(backend, verified, options, dumper.is_on()))?;
    if let Some(listing) = &emitted.listing {
        dumper.file("codegen", if emitted.shaders.is_some() { "wgsl" } else { "s" }, listing)?;
    }
    if stop == Some("codegen") {
        return stopped(timer, "codegen", &warnings);
    }
    let linked = timer.run("link", None, |_| code::link(&emitted, options, &imported.graph.name))?;
    if linked.is_none() {
        warnings.push(no_runtime(options.target.target.triple));
    }
    if stop == Some("link") {
        return stopped(timer, "link", &warnings);
    }

    let code_bytes = linked.as_ref().map_or(0, |(linked, _)| linked.bytes.len()) + emitted.shaders.as_ref().map_or(0, |s| s.bytes.len());
    let memory = MemoryPlan::of(&plan, code_bytes as u64, tokenizer.as_ref().map_or(0, |t| t.bytes().len() as u64));
    memory.check(&options.target.target)?;
    let stage = Stage::begin(&options.output, options.force)?;
    let weights = timer.run("pack", Some(plan.weights_bytes), |tick| pack::weights(&stage, &imported, &plan, tick))?;
    let parts = write::Parts {
        options,
        imported: &imported,
        plan: &plan,
        kernels_take: &kernels_take,
        identity: &emitted.identity,
        backend: backend.name(),
        linked: linked.as_ref(),
        shaders: emitted.shaders.as_ref(),
        tokenizer: tokenizer.as_ref(),
        weights: &weights,
        memory: &memory,
        passes: &specs,
    };
    let manifest = timer.run("write", None, |_| write::bundle(stage, &parts))?;
    Ok(Outcome::Written(Box::new(CompileReport::new(options, manifest, memory, timer.finish(), warnings))))
}

/// The graph of a checkpoint after `after`: `import` or one of the passes over graphs.
///
/// # Errors
/// Everything that is wrong with the checkpoint, the options or the first pass that fails; a name that is no such phase.
pub fn graph_after(options: &CompileOptions, after: &str) -> Result<Graph, CompileError> {
    let specs = pass_list(quantize_spec(options)?);
    let known: Vec<&str> = std::iter::once("import").chain(specs.iter().map(|spec| spec.name.as_str())).collect();
    if !known.contains(&after) {
        return Err(CompileError::Phase { name: after.to_owned(), known: known.join(", ") });
    }
    let mut graph = import_checkpoint(options, &|_| {})?.graph;
    if after != "import" {
        let options = CompileOptions { stop_after: Some(after.to_owned()), ..options.clone() };
        run_passes(&mut graph, &specs, GRAPH_PASSES, &options, &mut Dumper::new(None)?, &mut Timer::new(&Silent))?;
    }
    Ok(graph)
}

/// The target of a compile as its code generator can use it.
///
/// # Errors
/// A code generator that this build does not have.
pub fn fitted_target(options: &CompileOptions) -> Result<Target, CompileError> {
    Ok(code::fitted(code::backend(options)?, options).target.target)
}

/// What a bundle of kernels alone lacks, and how to get it.
fn no_runtime(triple: &str) -> String {
    format!(
        "the bundle has no runtime: this build of slmc has none for {triple}; it holds kernels, plan and weights for an app that brings its own \
         (add the target to the Rust toolchain that builds slmc to get one where slmc supports it)"
    )
}

/// The witness without which no code is generated.
fn verify<'k>(kernels: &'k KernelModule, plan: &Plan) -> Result<Verified<'k, KernelModule>, CompileError> {
    let faults = |faults: Vec<VerifyError>| CompileError::Kernels { faults: faults.iter().map(ToString::to_string).collect() };
    let verified = verify_module(kernels).map_err(faults)?;
    verify_plan(plan, kernels).map_err(faults)?;
    Ok(verified)
}

fn import_checkpoint(options: &CompileOptions, tick: &(dyn Fn(u64) + Sync)) -> Result<Imported, CompileError> {
    let import_options = ImportOptions { name: options.name.clone(), ctx: options.ctx, chunk: options.chunk, progress: tick };
    Ok(import::import(&options.model, &import_options)?)
}

/// The graph passes of a compile.
fn pass_list(quantize: PassSpec) -> Vec<PassSpec> {
    let mut specs = PassSpec::list(manager::GRAPH_PIPELINE);
    for spec in &mut specs {
        if spec.name == quantize.name {
            *spec = quantize.clone();
        }
    }
    specs
}

/// Whether and where a list of passes stopped.
struct Ran(Option<String>);

impl Ran {
    fn stopped_at(&self, name: &str) -> bool {
        self.0.as_deref() == Some(name)
    }
}

fn run_passes<M: Subject>(
    m: &mut M,
    specs: &[PassSpec],
    all: &[&'static PassInfo<M>],
    options: &CompileOptions,
    dumper: &mut Dumper<'_>,
    timer: &mut Timer<'_>,
) -> Result<Ran, CompileError> {
    let start = Instant::now();
    let clock = || start.elapsed();
    let mut cx = PassCx::new(&options::name_matches, &clock);
    cx.target = Some(&options.target.target);
    let (first_index, mut dump_fault) = (timer.done(), None);
    let mut observe = |phase: Phase<'_>| {
        let result = match phase.text {
            Some(text) => dumper.text(phase.name, text),
            None => dumper.unchanged(phase.name),
        };
        if let Err(fault) = result {
            dump_fault.get_or_insert(fault);
        }
    };
    let stop_after = options.stop_after.as_deref().filter(|name| specs.iter().any(|spec| spec.name == *name));
    let observe: Option<&mut dyn FnMut(Phase<'_>)> = if options.dump_ir.is_some() { Some(&mut observe) } else { None };
    let mut drive = Drive { observe, first_index, stop_after };
    let report = manager::run(m, specs, all, &mut cx, &mut drive)?;
    if let Some(fault) = dump_fault {
        return Err(fault);
    }
    for pass in &report.times {
        timer.add(pass.name, pass.run + pass.verify);
    }
    Ok(Ran(stop_after.filter(|_| report.stopped).map(str::to_owned)))
}

fn compile_tokenizer(options: &CompileOptions, vocab: u32, warnings: &mut Vec<String>) -> Result<Option<CompiledTokenizer>, CompileError> {
    if !options.model.join("tokenizer.json").exists() {
        warnings.push("no tokenizer.json: the bundle takes and gives token ids only".to_owned());
        return Ok(None);
    }
    let choices = TokenizerOptions { today: options.date, template_values: options.template_values.clone(), rows: Some(vocab) };
    let tokenizer = CompiledTokenizer::from_dir_with(&options.model, &choices)?;
    if tokenizer.vocab_size() > vocab {
        return Err(CompileError::Vocabulary { tokenizer: tokenizer.vocab_size(), model: vocab });
    }
    if !tokenizer.left_out().is_empty() {
        let names = tokenizer.left_out().join(", ");
        warnings.push(format!("added tokens beyond the model's {vocab} rows that nothing mentions are left out: {names}"));
    }
    match tokenizer.chat() {
        ChatSupport::Compiled { notes } => warnings.extend(notes.iter().map(|note| format!("chat template: {note}"))),
        ChatSupport::NoTemplate => warnings.push("chats cannot be prompted: the checkpoint has no chat template".to_owned()),
        ChatSupport::Unfit { reason } => warnings.push(format!("chats cannot be prompted: {reason}")),
    }
    Ok(Some(tokenizer))
}

//! `slmc compile`: a checkpoint into a bundle.

use std::path::{Path, PathBuf};

use serde::Serialize;
use slmc::bundle::manifest::{Memory, TargetInfo};
use slmc::package::Format;
use slmc::pipeline::{self, CompileOptions, CompileReport, Outcome, PhaseTime, human};
use slmc::target::{TargetSpec, machine_lacks};
use slmc::tokenizer::Date;

use crate::progress;
use crate::report::{Failure, columns, note, say, say_json};

/// Arguments of `slmc compile`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of a Hugging Face checkpoint: config.json, safetensors, tokenizer.json
    model: PathBuf,
    /// Device: `host` or a name of `slmc targets`, with overrides such as `x86_64-avx2,cores=4,memory=2G,+f16c`
    #[arg(long, value_name = "TARGET", default_value = "host")]
    target: String,
    /// A file of `slmc tune`, which says the target and the parameters of its schedules
    #[arg(long, value_name = "FILE", conflicts_with = "target")]
    tuned: Option<PathBuf>,
    /// Format of the weights: q4g32, q4g64, q4g128, q6g32, q8g32, f16 or f32 (everything f32)
    #[arg(long, value_name = "SCHEME", default_value = "q4g32")]
    quant: String,
    /// Format of the weights whose name matches, e.g. 'down_proj=q8g32'; repeatable, the first that matches wins
    #[arg(long, value_name = "REGEX=FORMAT")]
    keep: Vec<String>,
    /// Most tokens in the cache [default: what the model allows, at most 4096]
    #[arg(long, value_name = "TOKENS")]
    ctx: Option<usize>,
    /// Format of the KV cache: f16, q8 or f32; q8 on processors only [default: f16, f32 in f32 builds]
    #[arg(long, value_name = "FORMAT")]
    kv: Option<String>,
    /// Most tokens in one step of prefill
    #[arg(long, value_name = "TOKENS", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    chunk: u32,
    /// Code generator [default: the first that this build has]
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// The bundle [default: the model's folder name with .slm, here]
    #[arg(short, long, value_name = "OUT.slm")]
    output: Option<PathBuf>,
    /// Replace a bundle that is there already
    #[arg(long)]
    force: bool,
    /// Name of the model [default: that of its folder]
    #[arg(long)]
    name: Option<String>,
    /// lld to link with [default: ld.lld in PATH, else the Rust toolchain's]
    #[arg(long, value_name = "PATH")]
    linker: Option<PathBuf>,
    /// Threads of the compile [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// The date that the chat template sees where it asks for it [default: what the template has for none]
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<Date>,
    /// A value that the chat template sees, e.g. enable_thinking=false; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = pipeline::parse_template_value)]
    template_value: Vec<(String, serde_json::Value)>,
    /// Write the IR after each phase to a folder
    #[arg(long, value_name = "DIR")]
    dump_ir: Option<PathBuf>,
    /// Stop after a phase of `slmc passes` and write no bundle
    #[arg(long, value_name = "PHASE")]
    stop_after: Option<String>,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
    /// Report as JSON on standard output
    #[arg(long)]
    json: bool,
}

/// Compiles.
pub fn run(args: &Args) -> Result<(), Failure> {
    let target = match &args.tuned {
        Some(path) => TargetSpec::parse(&super::tune::read(path)?.target)?,
        None => TargetSpec::parse(&args.target)?,
    };
    let output = args.output.clone().unwrap_or_else(|| default_output(args));
    let options = CompileOptions {
        force: args.force,
        quant: args.quant.clone(),
        keep: args.keep.clone(),
        kv: args.kv.clone(),
        ctx: args.ctx,
        chunk: args.chunk,
        backend: args.backend.clone(),
        linker: args.linker.clone(),
        name: args.name.clone(),
        threads: args.threads,
        date: args.date,
        template_values: args.template_value.iter().cloned().collect(),
        dump_ir: args.dump_ir.clone(),
        stop_after: args.stop_after.clone(),
        ..CompileOptions::new(args.model.clone(), output, target)
    };
    let progress = progress::for_stderr(args.quiet);
    let outcome = pipeline::compile(&options, progress.as_ref())?;
    drop(progress);
    match outcome {
        Outcome::Stopped { after, times, warnings } => {
            show_warnings(&warnings, args.quiet);
            if args.json {
                say_json(&StoppedJson { stopped_after: &after, phases: phases(&times) });
            } else if !args.quiet {
                say(format_args!("stopped after {after}\n\n{}", table(&times)));
            }
        }
        Outcome::Written(report) => {
            show_warnings(&report.warnings, args.quiet);
            if args.json {
                say_json(&WrittenJson::of(&report));
            } else if !args.quiet {
                show(&report);
            }
        }
    }
    Ok(())
}

fn default_output(args: &Args) -> PathBuf {
    let full = args.model.canonicalize().unwrap_or_else(|_| args.model.clone());
    let name = full.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned());
    PathBuf::from(format!("{name}.slm"))
}

fn show_warnings(warnings: &[String], quiet: bool) {
    if !quiet {
        warnings.iter().for_each(|warning| note(format_args!("warning: {warning}")));
    }
}

fn show(report: &CompileReport) {
    let manifest = &report.manifest;
    let memory = &report.memory;
    let mut rows = vec![
        ("bundle", format!("{} ({})", report.bundle.display(), human(report.bytes()))),
        ("target", manifest.target.name.clone()),
        (
            "weights",
            format!("{} ({} bits per weight, {})", human(memory.weights), manifest.quantization.bits_per_weight, manifest.quantization.scheme),
        ),
        ("code", human(report.code_bytes())),
        ("context", format!("{} tokens, steps of {}", manifest.context, manifest.prefill_chunk)),
        ("KV cache", format!("{} a token ({})", human(memory.kv_per_token), manifest.quantization.kv)),
        ("memory", format!("{} at run time, one session", human(memory.peak()))),
    ];
    rows.extend(manifest.decided_by_context.iter().map(|decided| ("by context", decided.clone())));
    if let Some(peak) = compiler_memory() {
        rows.push(("compiler", format!("{} resident at most", human(peak))));
    }
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    say(format_args!("{}\n\n{}\n\nnext: {}", table(&report.times), columns(&rows), next(&manifest.target, &report.bundle)));
}

/// What to do with a bundle: what this machine cannot run is for another one, or for an app.
fn next(target: &TargetInfo, bundle: &Path) -> String {
    let bundle = bundle.display();
    if target.runtime.is_none() {
        return format!("slmc inspect {bundle}");
    }
    match machine_lacks(&target.triple, &target.features) {
        None => format!("slmc run {bundle}"),
        Some(_) if Format::of_triple(&target.triple) != Format::Folder => {
            format!("slmc package {bundle} -o PACKAGE, for an app on {}; this machine cannot run it", target.needs())
        }
        Some(lacks) => format!("slmc run {bundle} on {}, or slmc package for a program there; {lacks}", target.needs()),
    }
}

/// The time of each phase and the sum.
fn table(times: &[PhaseTime]) -> String {
    let mut rows: Vec<Vec<String>> = times.iter().map(|phase| vec![phase.name.clone(), progress::seconds(phase.time)]).collect();
    rows.push(vec!["total".to_owned(), progress::seconds(times.iter().map(|phase| phase.time).sum())]);
    columns(&rows)
}

/// Most memory this process was resident with, bytes, where the system tells.
fn compiler_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[derive(Serialize)]
struct PhaseJson<'a> {
    name: &'a str,
    seconds: f64,
}

fn phases(times: &[PhaseTime]) -> Vec<PhaseJson<'_>> {
    times.iter().map(|phase| PhaseJson { name: &phase.name, seconds: phase.time.as_secs_f64() }).collect()
}

#[derive(Serialize)]
struct StoppedJson<'a> {
    stopped_after: &'a str,
    phases: Vec<PhaseJson<'a>>,
}

#[derive(Serialize)]
struct WrittenJson<'a> {
    bundle: String,
    bytes: u64,
    code_bytes: u64,
    bits_per_weight: f64,
    context: u32,
    decided_by_context: &'a [String],
    memory: &'a Memory,
    compiler_peak_bytes: Option<u64>,
    digest: String,
    warnings: &'a [String],
    phases: Vec<PhaseJson<'a>>,
}

impl<'a> WrittenJson<'a> {
    fn of(report: &'a CompileReport) -> Self {
        Self {
            bundle: report.bundle.display().to_string(),
            bytes: report.bytes(),
            code_bytes: report.code_bytes(),
            bits_per_weight: report.manifest.quantization.bits_per_weight,
            context: report.manifest.context,
            decided_by_context: &report.manifest.decided_by_context,
            memory: &report.manifest.memory,
            compiler_peak_bytes: compiler_memory(),
            digest: report.manifest.digest.to_string(),
            warnings: &report.warnings,
            phases: phases(&report.times),
        }
    }
}

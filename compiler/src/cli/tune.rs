//! `slmc tune`: schedule parameters for this machine, found by measuring; a small file that `slmc compile --tuned` reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use slmc::pipeline::CompileOptions;
use slmc::target::{TargetSpec, machine_lacks};
use slmc::tune::{Trial, TuneError, Tuned, tune};

use super::aside;
use crate::progress::Counted;
use crate::report::{Failure, columns, say, say_json};

/// Arguments of `slmc tune`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The kernels of MODEL are made again and again with one parameter changed, and run in turn with the best so far, with zeros for weights. \
Nothing else should run meanwhile. A file that is there already is where the search begins."
)]
pub struct Args {
    /// Folder of a Hugging Face checkpoint, whose shapes count
    model: PathBuf,
    /// Device, which must be this machine: as for `slmc compile` [default: host, or what the file says]
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// How long to search
    #[arg(long, value_name = "S", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// The file
    #[arg(short, long, value_name = "FILE", default_value = "tuned.json")]
    output: PathBuf,
    /// Format of the weights, as for `slmc compile`
    #[arg(long, value_name = "SCHEME", default_value = "q4g32")]
    quant: String,
    /// Most tokens in one step of prefill
    #[arg(long, value_name = "TOKENS", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    chunk: u32,
    /// Most tokens in the cache [default: what the model allows, at most 4096]
    #[arg(long, value_name = "TOKENS")]
    ctx: Option<usize>,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    /// No progress on standard error
    #[arg(short, long)]
    quiet: bool,
    /// The file's content on standard output as well
    #[arg(long)]
    json: bool,
}

/// Searches and writes.
pub fn run(args: &Args) -> Result<(), Failure> {
    let text = match (&args.target, args.output.exists()) {
        (Some(target), _) => target.clone(),
        (None, true) => read(&args.output)?.target,
        (None, false) => "host".to_owned(),
    };
    let target = TargetSpec::parse(&text)?;
    if let Some(why) = machine_lacks(target.target.triple, &target.target.features) {
        let failure = Failure::new(format_args!("target {} does not run here: {why}", target.text));
        return Err(failure.hint("parameters are found by running; tune on the device, or leave --target out to tune for this machine"));
    }
    let mut options = CompileOptions::new(args.model.clone(), args.output.clone(), target);
    options.quant.clone_from(&args.quant);
    (options.chunk, options.ctx) = (args.chunk, args.ctx);
    let mut shown = Counted::begin("percent", 100, args.quiet);
    let mut percent = 0;
    let mut watch = |_: &Trial, done: f64| {
        let now = (done * 100.0) as usize;
        shown.advance(now.saturating_sub(percent));
        percent = percent.max(now);
    };
    let tuned = tune(&options, args.threads.unwrap_or(0), Duration::from_secs(args.seconds.into()), &mut watch).map_err(failure)?;
    drop(shown);
    write(&args.output, &tuned)?;
    if args.json {
        say_json(&tuned);
    } else {
        let taken = tuned.trials.iter().map(|trial| {
            let time = format!("{:.3} of the best before{}", trial.ratio, if trial.taken { ", taken" } else { "" });
            vec![format!("{}={}", trial.parameter, trial.value), time]
        });
        say(columns(&taken.collect::<Vec<_>>()));
        say(format_args!("{}: {}", args.output.display(), tuned.target));
    }
    Ok(())
}

/// The target of a file of `slmc tune`.
pub fn read(path: &Path) -> Result<Tuned, Failure> {
    let failed = |e: &dyn std::fmt::Display| {
        let failure = Failure::new(format_args!("{}: {e}", path.display()));
        failure.hint("`slmc tune` writes such a file")
    };
    let text = fs::read_to_string(path).map_err(|e| failed(&e))?;
    serde_json::from_str(&text).map_err(|e| failed(&e))
}

fn write(path: &Path, tuned: &Tuned) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(tuned).expect("invariant: plain data becomes JSON");
    aside::write(path, &format!("{text}\n"))
}

fn failure(error: TuneError) -> Failure {
    match error {
        TuneError::Compile(error) => error.into(),
        TuneError::Run(error) => error.into(),
        other => Failure::new(other),
    }
}

//! Schedule parameters for one machine and one model, found by measuring.
//!
//! The search goes parameter by parameter. A candidate is the model's own kernels, with its shapes, made anew with one parameter changed and
//! zeros for weights; it runs in turn with the best so far, and takes its place if the median of the ratios of their times is less by
//! [`GAIN`]. Prompts judge the parameters of prefill, single tokens those of decode.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use slmc_ir::graph::Graph;
use slmc_ir::plan::Program;
use slmc_ir::target::Parameter;
use slmc_passes::lower::{self, LowerError};
use tempfile::TempDir;

use crate::engine::{Engine, EngineError, EngineOptions};
use crate::pipeline::{self, CompileError, CompileOptions};
use crate::target::{TargetError, TargetSpec};

/// What a candidate must save to be taken, as a part of the time: less is noise.
pub const GAIN: f64 = 0.02;
/// Turns of a comparison.
const TURNS: usize = 7;
/// Tokens of a decode measurement.
const DECODE_TOKENS: u32 = 8;

/// What a search found; the file of `slmc tune`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    /// The target with the parameters that were found, as `--target` takes it.
    pub target: String,
    /// The model whose shapes it was measured with.
    pub model: String,
    /// Threads that ran.
    pub threads: u32,
    /// Changes that were tried, in order.
    pub trials: Vec<Trial>,
}

/// One candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// The parameter's name.
    pub parameter: String,
    /// Its value.
    pub value: u32,
    /// Its time over that of the best before it.
    pub ratio: f64,
    /// Whether it was taken.
    pub taken: bool,
}

/// A search that cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// Schedules of GPUs have other parameters.
    #[error("target {0} runs on a GPU; expected a processor, whose schedules are what is tuned")]
    Gpu(String),
    /// The model or its code.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// No schedule.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The code does not run here.
    #[error(transparent)]
    Run(#[from] EngineError),
    /// A target text that does not parse.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// No room for candidates.
    #[error("no temporary folder for candidates: {0}")]
    Folder(#[from] std::io::Error),
}

/// A candidate that runs.
struct Candidate {
    engine: Engine,
    _folder: TempDir,
}

/// Searches for `time` (the first candidate of each parameter may take longer) and tells `watch` of each trial and how much of the search is
/// done, 0 to 1. `options` say model, target, formats and back end; nothing is written to their output.
///
/// # Errors
/// [`TuneError`].
pub fn tune(options: &CompileOptions, threads: u32, time: Duration, watch: &mut dyn FnMut(&Trial, f64)) -> Result<Tuned, TuneError> {
    if options.target.target.gpu.is_some() {
        return Err(TuneError::Gpu(options.target.text.clone()));
    }
    let start = Instant::now();
    let graph = pipeline::graph_after(options, "fuse")?;
    let mut best_options = options.clone();
    let mut best = candidate(&graph, options, threads)?;
    let mut trials = Vec::new();
    let tries: Vec<(Parameter, u32)> =
        Parameter::ALL.into_iter().flat_map(|(parameter, _)| parameter.candidates().iter().map(move |value| (parameter, *value))).collect();
    for (i, &(parameter, value)) in tries.iter().enumerate() {
        if start.elapsed() >= time {
            break;
        }
        if best_options.target.target.tuning.get(parameter) == Some(value) {
            continue;
        }
        let mut changed = best_options.clone();
        changed.target = with(&best_options.target, parameter, value)?;
        let mut other = candidate(&graph, &changed, threads)?;
        let ratio = compare(&mut best.engine, &mut other.engine, parameter.is_of_prefill())?;
        let taken = ratio < 1.0 - GAIN;
        if taken {
            (best, best_options) = (other, changed);
        }
        let trial = Trial { parameter: parameter.name().to_owned(), value, ratio, taken };
        let done = f64::max((i + 1) as f64 / tries.len() as f64, start.elapsed().as_secs_f64() / time.as_secs_f64().max(1e-9));
        watch(&trial, done.min(1.0));
        trials.push(trial);
    }
    Ok(Tuned { target: best_options.target.text, model: graph.name.clone(), threads: best.engine.info().threads, trials })
}

/// The target with one parameter set, in place of what its text said of it.
fn with(target: &TargetSpec, parameter: Parameter, value: u32) -> Result<TargetSpec, TargetError> {
    let key = format!("{}=", parameter.name());
    let kept: Vec<&str> = target.text.split(',').filter(|part| !part.starts_with(&key)).collect();
    TargetSpec::parse(&format!("{},{key}{value}", kept.join(",")))
}

fn candidate(graph: &Graph, options: &CompileOptions, threads: u32) -> Result<Candidate, TuneError> {
    let folder = tempfile::Builder::new().prefix("slmc-tune-").tempdir()?;
    let target = pipeline::fitted_target(options)?;
    let program = Program::from(lower::lower(graph, &target)?);
    pipeline::compile_program(program, options, folder.path())?;
    let engine = open(folder.path(), threads)?;
    Ok(Candidate { engine, _folder: folder })
}

fn open(folder: &Path, threads: u32) -> Result<Engine, EngineError> {
    Engine::open(folder, &EngineOptions { threads, ..EngineOptions::default() })
}

/// The time of `other` over that of `best`, the median of turns.
fn compare(best: &mut Engine, other: &mut Engine, prefill: bool) -> Result<f64, EngineError> {
    let mut ratios = Vec::new();
    for turn in 0..=TURNS {
        let ratio = measure(other, prefill)?.as_secs_f64() / measure(best, prefill)?.as_secs_f64().max(1e-9);
        if turn > 0 {
            ratios.push(ratio);
        }
    }
    ratios.sort_by(f64::total_cmp);
    Ok(ratios[ratios.len() / 2])
}

/// One prompt of a whole step, or a few single tokens.
fn measure(engine: &mut Engine, prefill: bool) -> Result<Duration, EngineError> {
    engine.reset()?;
    let info = engine.info();
    let (chunk, room) = (info.chunk, info.context);
    if prefill {
        let ids = vec![0; chunk as usize];
        let start = Instant::now();
        engine.eval(&ids)?;
        return Ok(start.elapsed());
    }
    let start = Instant::now();
    for _ in 0..DECODE_TOKENS.min(room) {
        engine.eval_last(&[0])?;
    }
    Ok(start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_set_in_place_of_its_old_value() {
        let target = TargetSpec::parse("x86_64-avx2,token_tile=6,cores=2").expect("good");
        let text = |parameter, value| with(&target, parameter, value).expect("good").text;
        assert_eq!(text(Parameter::TokenTile, 8), "x86_64-avx2,cores=2,token_tile=8");
        assert_eq!(text(Parameter::Prefetch, 0), "x86_64-avx2,token_tile=6,cores=2,prefetch=0");
    }
}

//! `slmc bench`: tokens per second, in the table (and under the keys) of llama-bench; with `--roofline`, the kernels one by one.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use slmc::bundle::Manifest;
use slmc::engine::Engine;

use super::busy::Busy;
use super::device::DeviceArgs;
use super::opened::Opened;
use super::roofline;
use crate::report::{Failure, say, say_json};

/// Arguments of `slmc bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle
    bundle: PathBuf,
    /// Tokens of the prompt test; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 512)]
    pp: u32,
    /// Tokens of the generation test; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 128)]
    tg: u32,
    /// Repetitions of each test
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    reps: u32,
    /// Tokens in the cache before each test
    #[arg(long, value_name = "N", default_value_t = 0)]
    depth: u32,
    /// Threads of competing load beside the bundle's: what other programs on the device do to its pace
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1024))]
    busy: u32,
    /// Measure a decode step and a prompt of one step kernel by kernel, against what this machine's memory and arithmetic allow
    #[arg(long)]
    roofline: bool,
    /// Draw the roofline as SVG
    #[arg(long, value_name = "FILE", requires = "roofline")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    /// JSON on standard output: an array with llama-bench's keys, or the roofline's numbers
    #[arg(long)]
    json: bool,
}

/// A test under llama-bench's keys.
#[derive(Debug, Serialize)]
struct Row {
    build_commit: String,
    model_filename: String,
    model_type: String,
    model_size: u64,
    model_n_params: u64,
    backends: String,
    devices: String,
    n_batch: u32,
    n_ubatch: u32,
    n_threads: u32,
    type_k: String,
    type_v: String,
    n_prompt: u32,
    n_gen: u32,
    n_depth: u32,
    n_busy: u32,
    avg_ns: u64,
    stddev_ns: u64,
    avg_ts: f64,
    stddev_ts: f64,
    samples_ns: Vec<u64>,
    samples_ts: Vec<f64>,
}

/// Measures.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut opened = Opened::open(&args.bundle, &args.device)?;
    let _busy = Busy::start(args.busy);
    if args.roofline {
        let request = roofline::Request { prompt: args.pp, depth: args.depth, reps: args.reps, svg: args.svg.as_deref(), json: args.json };
        return roofline::run(&mut opened, &request);
    }
    opened.check_room(args.depth as usize + args.pp.max(args.tg) as usize)?;
    let mut rows = Vec::new();
    for (prompt, generate) in [(args.pp, 0), (0, args.tg)] {
        if prompt + generate > 0 {
            let samples = measure(&mut opened.engine, prompt, generate, args)?;
            rows.push(row(args, &opened, prompt, generate, samples));
        }
    }
    if args.json {
        say_json(&rows);
    } else {
        say(table(&rows));
        let on = if opened.bundle.manifest.target.gpu.is_some() { format!(" on {}", opened.engine.device_name()) } else { String::new() };
        say(format_args!("\nbuild: {} ({}){on}", opened.bundle.manifest.build.compiler, opened.bundle.manifest.target.name));
    }
    Ok(())
}

/// Nanoseconds of each repetition, after one that does not count.
fn measure(engine: &mut Engine, prompt: u32, generate: u32, args: &Args) -> Result<Vec<u64>, Failure> {
    let vocab = engine.info().vocab;
    let id = |i: u32| i.wrapping_mul(2_654_435_761).rotate_left(9) % vocab;
    let ids: Vec<u32> = (0..prompt.max(generate)).map(id).collect();
    let before: Vec<u32> = (0..args.depth).map(id).collect();
    let mut samples = Vec::new();
    for rep in 0..=args.reps {
        // what is in the cache stays there, if the cache goes back that far
        if rep == 0 || before.is_empty() || engine.rewind(args.depth).is_err() {
            engine.reset()?;
            if !before.is_empty() {
                engine.eval(&before)?;
            }
        }
        let start = Instant::now();
        if prompt > 0 {
            engine.eval_last(&ids)?;
        } else {
            // the pace of generation after the first steps is seen with as many steps as asked for
            for id in &ids {
                engine.eval_last(std::slice::from_ref(id))?;
            }
        }
        let ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1);
        if rep > 0 {
            samples.push(ns);
        }
    }
    Ok(samples)
}

fn row(args: &Args, opened: &Opened, prompt: u32, generate: u32, samples_ns: Vec<u64>) -> Row {
    let Manifest { quantization, .. } = &opened.bundle.manifest;
    let info = opened.engine.info();
    let tokens = f64::from(prompt + generate);
    let samples_ts: Vec<f64> = samples_ns.iter().map(|&ns| tokens * 1e9 / ns as f64).collect();
    let (avg_ts, stddev_ts) = mean_and_deviation(&samples_ts);
    let (avg_ns, stddev_ns) = mean_and_deviation(&samples_ns.iter().map(|&ns| ns as f64).collect::<Vec<_>>());
    Row {
        build_commit: opened.bundle.manifest.build.compiler.clone(),
        model_filename: args.bundle.display().to_string(),
        model_type: model_type(&opened.bundle.manifest),
        model_size: info.weights_bytes,
        model_n_params: info.parameters,
        backends: backends(&opened.bundle.manifest),
        devices: opened.engine.device_name().to_owned(),
        n_batch: info.chunk,
        n_ubatch: info.chunk,
        n_threads: info.threads,
        type_k: quantization.kv.clone(),
        type_v: quantization.kv.clone(),
        n_prompt: prompt,
        n_gen: generate,
        n_depth: args.depth,
        n_busy: args.busy,
        avg_ns: avg_ns.round() as u64,
        stddev_ns: stddev_ns.round() as u64,
        avg_ts,
        stddev_ts,
        samples_ns,
        samples_ts,
    }
}

/// What runs the kernels, as llama-bench names it.
fn backends(manifest: &Manifest) -> String {
    match &manifest.target.gpu {
        None => "CPU".to_owned(),
        Some(gpu) if gpu.api == "metal" => "Metal".to_owned(),
        Some(_) => "Vulkan".to_owned(),
    }
}

/// `warehouse 2.0M q4g32`.
fn model_type(manifest: &Manifest) -> String {
    format!("{} {} {}", manifest.model.name, count(manifest.model.parameters, ""), manifest.quantization.scheme)
}

/// A number of parameters: `1.10 B`.
fn count(n: u64, space: &str) -> String {
    let (value, unit) = if n >= 1_000_000_000 { (n as f64 / 1e9, 'B') } else { (n as f64 / 1e6, 'M') };
    format!("{value:.2}{space}{unit}")
}

/// Mean and sample standard deviation, as llama-bench has them.
fn mean_and_deviation(samples: &[f64]) -> (f64, f64) {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    if samples.len() < 2 {
        return (mean, 0.0);
    }
    let squares = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>();
    (mean, (squares / (n - 1.0)).sqrt())
}

fn table(rows: &[Row]) -> String {
    let mut lines = vec![
        format!("| {:<30} | {:>10} | {:>10} | {:<10} | {:>7} | {:>15} | {:>20} |", "model", "size", "params", "backend", "threads", "test", "t/s"),
        format!("| {:-<30} | {:->9}: | {:->9}: | {:-<10} | {:->6}: | {:->14}: | {:->19}: |", "", "", "", "", "", "", ""),
    ];
    for row in rows {
        let test = if row.n_gen == 0 { format!("pp{}", row.n_prompt) } else { format!("tg{}", row.n_gen) };
        let test = if row.n_depth == 0 { test } else { format!("{test} @ d{}", row.n_depth) };
        let size = format!("{:.2} MiB", row.model_size as f64 / f64::from(1 << 20));
        let rate = format!("{:.2} ± {:.2}", row.avg_ts, row.stddev_ts);
        lines.push(format!(
            "| {:<30} | {size:>10} | {:>10} | {:<10} | {:>7} | {test:>15} | {rate:>20} |",
            row.model_type,
            count(row.model_n_params, " "),
            row.backends,
            row.n_threads
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviation_is_that_of_a_sample() {
        let (mean, deviation) = mean_and_deviation(&[1.0, 2.0, 3.0]);
        assert_eq!((mean, deviation), (2.0, 1.0));
        assert_eq!(mean_and_deviation(&[4.0]), (4.0, 0.0));
    }
}

//! `slmc bench --roofline`: a decode step and a prompt, kernel by kernel, against the limits of the machine.

use std::path::Path;

use serde::Serialize;
use slmc::engine::{Engine, KernelTime};
use slmc::roofline::{self, Bound, Class, Limits, chart};

use super::aside;
use super::opened::Opened;
use crate::report::{Failure, note, say, say_json};

/// What `--roofline` measures.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Tokens of the prompt, at most one step's; 0 leaves it out.
    pub prompt: u32,
    /// Tokens in the cache.
    pub depth: u32,
    /// Steps of each kind; medians count.
    pub reps: u32,
    /// Where the picture goes.
    pub svg: Option<&'a Path>,
    /// JSON on standard output.
    pub json: bool,
}

/// One kind of step.
#[derive(Debug, Serialize)]
struct Step {
    name: String,
    tokens: u32,
    cached: u32,
    ns: u64,
    kernels: Vec<Row>,
}

/// A kernel of a step.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    class: Class,
    /// Part of the step's time.
    share: f64,
    /// What limits it; none where limits are not known.
    bound: Option<Bound>,
    /// The least time that the limits allow over the time it took.
    of_limit: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    target: String,
    threads: u32,
    limits: Option<Limits>,
    steps: Vec<Step>,
}

/// Measures and tells.
pub fn run(opened: &mut Opened, request: &Request<'_>) -> Result<(), Failure> {
    let manifest = opened.bundle.manifest.clone();
    if manifest.kernels.is_empty() {
        let failure = Failure::new(format_args!("the manifest of {} does not say what its kernels take", manifest.model.name));
        return Err(failure.hint("compile it anew: bundles of this version of slmc say it"));
    }
    let info = *opened.engine.info();
    let limits = match roofline::limits(&manifest, info.threads) {
        Ok(limits) => Some(limits),
        Err(error @ roofline::ProbeError::Gpu) => {
            note(error);
            None
        }
        Err(error) => return Err(Failure::new(error)),
    };
    // What the manifest says of prompts is for whole steps.
    let prompt = if request.prompt == 0 { 0 } else { info.chunk };
    let mut steps = Vec::new();
    for (name, tokens) in [("decode", 1), ("prompt", prompt)] {
        if tokens == 0 {
            continue;
        }
        opened.check_room((request.depth + tokens) as usize)?;
        let times = profile(&mut opened.engine, tokens, request.depth, request.reps)?;
        let classes = roofline::classes(&manifest, &times, request.depth);
        let ns = classes.iter().map(|class| class.ns).sum();
        let kernels = classes.into_iter().map(|class| row(class, ns, limits.as_ref())).collect();
        steps.push(Step { name: name.to_owned(), tokens, cached: request.depth, ns, kernels });
    }
    let report = Report { model: manifest.model.name.clone(), target: manifest.target.name.clone(), threads: info.threads, limits, steps };
    if let Some(path) = request.svg {
        draw(path, &report)?;
    }
    if request.json {
        say_json(&report);
    } else {
        say(table(&report));
    }
    Ok(())
}

fn row(class: Class, total: u64, limits: Option<&Limits>) -> Row {
    let least = limits.map(|limits| class.least(limits));
    let (share, seconds) = (class.ns as f64 / total.max(1) as f64, class.seconds());
    Row { share, bound: least.map(|(_, bound)| bound), of_limit: least.map(|(least, _)| least / seconds.max(1e-9)), class }
}

/// Times of `reps` steps, after one that does not count.
fn profile(engine: &mut Engine, tokens: u32, depth: u32, reps: u32) -> Result<Vec<Vec<KernelTime>>, Failure> {
    let vocab = engine.info().vocab;
    let ids = |count: u32| -> Vec<u32> { (0..count).map(|i| i.wrapping_mul(2_654_435_761).rotate_left(9) % vocab).collect() };
    let mut times = Vec::new();
    for rep in 0..=reps {
        engine.reset()?;
        if depth > 0 {
            engine.eval(&ids(depth))?;
        }
        let measured = engine.profile(&ids(tokens))?;
        if rep > 0 {
            times.push(measured);
        }
    }
    Ok(times)
}

fn draw(path: &Path, report: &Report) -> Result<(), Failure> {
    let Some(limits) = &report.limits else {
        return Err(Failure::new("a roofline cannot be drawn without the limits of the device").hint("leave out --svg for bundles that run on a GPU"));
    };
    let classes: Vec<Vec<Class>> = report.steps.iter().map(|step| step.kernels.iter().map(|row| row.class.clone()).collect()).collect();
    let steps: Vec<chart::Step<'_>> = report.steps.iter().zip(&classes).map(|(step, classes)| chart::Step { name: &step.name, classes }).collect();
    let title = format!("{} on {}, {} threads", report.model, report.target, report.threads);
    let text = chart::svg(&title, limits, &steps).map_err(|e| Failure::new(format_args!("{}: {e}", path.display())))?;
    aside::write(path, &text)
}

fn table(report: &Report) -> String {
    let mut lines = Vec::new();
    if let Some(limits) = &report.limits {
        lines.push(format!(
            "limits of {} threads: {:.1} GB/s of memory, {:.0} G multiply-adds/s of bytes, {:.0} GFLOP/s",
            report.threads,
            limits.bytes / 1e9,
            limits.byte_products / 1e9,
            limits.float_ops / 1e9
        ));
    }
    for step in &report.steps {
        let cached = if step.cached == 0 { String::new() } else { format!(" after {}", step.cached) };
        let tokens = if step.tokens == 1 { "1 token".to_owned() } else { format!("{} tokens", step.tokens) };
        lines.push(format!("\n{}: {tokens}{cached}, {:.3} ms", step.name, step.ns as f64 / 1e6));
        let width = step.kernels.iter().map(|row| row.class.name.len()).max().unwrap_or(0).max("kernel".len());
        lines.push(format!(
            "| {:<width$} | {:>8} | {:>9} | {:>6} | {:>9} | {:>7} | {:>8} | {:>8} | {:<14} |",
            "kernel", "launches", "ms", "share", "MB", "GB/s", "G mac/s", "GFLOP/s", "of its limit"
        ));
        lines.push(format!(
            "| {:-<width$} | {:->7}: | {:->8}: | {:->5}: | {:->8}: | {:->6}: | {:->7}: | {:->7}: | {:-<14} |",
            "", "", "", "", "", "", "", "", ""
        ));
        lines.extend(step.kernels.iter().map(|row| line(row, width)));
        if let Some(limits) = &report.limits {
            let least: f64 = step.kernels.iter().map(|row| row.class.least(limits).0).sum();
            lines.push(format!("the limits allow {:.3} ms: {:.0} % of them are reached", least * 1e3, 1e11 * least / step.ns.max(1) as f64));
        }
    }
    lines.join("\n")
}

fn line(row: &Row, width: usize) -> String {
    let class = &row.class;
    let rate = |amount: u64| if amount == 0 { String::new() } else { format!("{:.1}", amount as f64 / class.ns.max(1) as f64) };
    let limit = match (row.bound, row.of_limit) {
        (Some(bound), Some(part)) => {
            let bound = match bound {
                Bound::Memory => "memory",
                Bound::Dot => "dot",
                Bound::Float => "float",
            };
            format!("{:.0} % {bound}", part * 100.0)
        }
        _ => String::new(),
    };
    format!(
        "| {:<width$} | {:>8} | {:>9.3} | {:>4.1} % | {:>9.2} | {:>7} | {:>8} | {:>8} | {limit:<14} |",
        class.name,
        class.launches,
        class.ns as f64 / 1e6,
        row.share * 100.0,
        class.bytes as f64 / 1e6,
        rate(class.bytes),
        rate(class.byte_products),
        rate(class.float_ops),
    )
}

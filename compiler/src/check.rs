//! How far a bundle is from its checkpoint, and why: the comparison behind `slmc check`.
//!
//! Three runs over the same tokens: the bundle, the checkpoint as f32 on burn, and, where the bundle stores weights in
//! smaller formats, the checkpoint rounded to these formats on burn. The last tells two causes apart: what the formats cost, and what
//! the compiled code adds to it. Only the former may be large.
//!
//! A bundle gives no hidden states, so the comparison by layers is between the two runs on burn: it shows in which layer
//! the formats cost what they cost, and says nothing about the bundle's code.

use std::fmt;

use slmc_ir::graph::Graph;
use slmc_passes::graph::GRAPH_PASSES;
use slmc_passes::manager::{self, Drive, Options, PassCx, PassSpec, PipelineError};

use crate::bundle::manifest::Quantization;
use crate::compare::{CompareError, LogitGap, StateGap, TokenAgreement, surprise};
use crate::pipeline::name_matches;
use crate::reference::{Reference, ReferenceError};

/// What is fed to each of the runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Questions {
    /// Sequences of tokens, each at most as long as the context.
    pub texts: Vec<Vec<u32>>,
    /// Prompts to continue.
    pub prompts: Vec<Vec<u32>>,
    /// Tokens to continue each prompt by.
    pub continuation: usize,
}

/// What one run answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answers {
    /// `[T, V]` for each text.
    pub logits: Vec<Vec<f32>>,
    /// The greedy continuation of each prompt.
    pub continuations: Vec<Vec<u32>>,
    /// For each text the residual stream by place; empty if none was asked for.
    pub streams: Vec<Vec<(String, Vec<f32>)>>,
}

impl Answers {
    /// Runs the reference.
    ///
    /// # Errors
    /// Tokens that the graph does not know or that do not fit its context.
    pub fn of(reference: &Reference, questions: &Questions, with_streams: bool) -> Result<Self, ReferenceError> {
        let mut answers = Self::default();
        for text in &questions.texts {
            let output = reference.forward(text)?;
            answers.logits.push(output.logits);
            if with_streams {
                answers.streams.push(output.streams);
            }
        }
        for prompt in &questions.prompts {
            answers.continuations.push(reference.greedy(prompt, questions.continuation)?);
        }
        Ok(answers)
    }
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckReport {
    /// Tokens of all texts.
    pub tokens: usize,
    /// Texts.
    pub texts: usize,
    /// Bundle against checkpoint.
    pub bundle: LogitGap,
    /// The formats alone against the checkpoint, and the bundle against the formats; `None` for an f32 bundle.
    pub causes: Option<(LogitGap, LogitGap)>,
    /// Continuations of the bundle against those of the checkpoint.
    pub continuations: TokenAgreement,
    /// Perplexity of the texts under the checkpoint and under the bundle; NaN if there is no second token anywhere.
    pub perplexity: (f64, f64),
    /// Per place of the residual stream what the formats change; empty if not asked for.
    pub layers: Vec<(String, StateGap)>,
}

/// Compares the runs. `formats` is the run on the bundle's formats, `None` where these are all f32.
///
/// # Errors
/// Answers that are not of the same questions or of models with as many tokens.
pub fn compare(
    questions: &Questions,
    vocab: usize,
    bundle: &Answers,
    checkpoint: &Answers,
    formats: Option<&Answers>,
) -> Result<CheckReport, CompareError> {
    let gap = |a: &Answers, b: &Answers| -> Result<LogitGap, CompareError> {
        let mut gap = LogitGap::new(vocab);
        a.logits.iter().zip(&b.logits).try_for_each(|(a, b)| gap.add(a, b)).map(|()| gap)
    };
    let causes = match formats {
        Some(formats) => Some((gap(checkpoint, formats)?, gap(formats, bundle)?)),
        None => None,
    };
    let mut continuations = TokenAgreement::default();
    for (a, b) in checkpoint.continuations.iter().zip(&bundle.continuations) {
        continuations.add(a, b);
    }
    let perplexity = |answers: &Answers| {
        let terms = answers.logits.iter().zip(&questions.texts).map(|(logits, text)| surprise(logits, vocab, text));
        let (nats, n) = terms.fold((0.0, 0), |(sum, n), (nats, more)| (sum + nats, n + more));
        (nats / n as f64).exp()
    };
    let mut layers: Vec<(String, StateGap)> = Vec::new();
    for (a, b) in checkpoint.streams.iter().zip(formats.map_or(&[][..], |f| &f.streams)) {
        for (place, ((name, a), (_, b))) in a.iter().zip(b).enumerate() {
            if layers.len() <= place {
                layers.push((name.clone(), StateGap::default()));
            }
            layers[place].1.add(a, b)?;
        }
    }
    Ok(CheckReport {
        tokens: questions.texts.iter().map(Vec::len).sum(),
        texts: questions.texts.len(),
        bundle: gap(checkpoint, bundle)?,
        causes,
        continuations,
        perplexity: (perplexity(checkpoint), perplexity(bundle)),
        layers,
    })
}

/// Gives the weights, activations and cache of `graph`, as imported, the formats that a manifest lists. `false` if that
/// changes nothing, that is for an f32 bundle.
///
/// # Errors
/// A manifest that lists a tensor or format that the checkpoint's graph cannot have.
pub fn apply_formats(graph: &mut Graph, formats: &Quantization) -> Result<bool, PipelineError> {
    let all = || formats.tensors.iter().map(|t| t.dtype.as_str()).chain([formats.kv.as_str()]);
    if all().all(|dtype| dtype == "f32") {
        return Ok(false);
    }
    let mut options = Options::new().with("body", "f32").with("kv", &formats.kv);
    for tensor in formats.tensors.iter().filter(|t| t.shape.len() == 2) {
        options = options.with("keep", format!("^{}$={}", regex::escape(&tensor.name), tensor.dtype));
    }
    let specs: Vec<PassSpec> = manager::GRAPH_PIPELINE
        .iter()
        .filter(|name| **name != "fuse")
        .map(|name| PassSpec::new(*name, if *name == "quantize" { options.clone() } else { Options::new() }))
        .collect();
    let clock = || std::time::Duration::ZERO;
    let mut cx = PassCx::new(&name_matches, &clock);
    manager::run(graph, &specs, GRAPH_PASSES, &mut cx, &mut Drive::default())?;
    Ok(true)
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} tokens in {} texts; divergence in nats per token", self.tokens, self.texts)?;
        writeln!(f)?;
        let head = ["", "largest logit diff", "mean KL", "median KL", "99 % KL", "max KL", "same top token"];
        writeln!(f, "{:<28}{:>18}{:>12}{:>12}{:>12}{:>12}{:>20}", head[0], head[1], head[2], head[3], head[4], head[5], head[6])?;
        row(f, "bundle to checkpoint", &self.bundle)?;
        if let Some((formats, code)) = &self.causes {
            row(f, "  formats to checkpoint", formats)?;
            row(f, "  bundle to formats", code)?;
        }
        writeln!(f)?;
        writeln!(f, "perplexity    {:.4} checkpoint, {:.4} bundle", self.perplexity.0, self.perplexity.1)?;
        if self.continuations.sequences > 0 {
            writeln!(f, "greedy        {}", self.continuations)?;
        }
        if !self.layers.is_empty() {
            writeln!(f)?;
            writeln!(f, "{:<28}{:>18}{:>12}", "formats to checkpoint", "largest diff", "relative")?;
            for (name, gap) in &self.layers {
                writeln!(f, "{:<28}{:>18.3e}{:>12.3e}", format!("  {name}"), gap.largest, gap.relative())?;
            }
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, gap: &LogitGap) -> fmt::Result {
    let d = gap.divergence();
    let same = format!("{} of {}", gap.same_top(), gap.rows());
    writeln!(f, "{name:<28}{:>18.3e}{:>12.3e}{:>12.3e}{:>12.3e}{:>12.3e}{same:>20}", gap.largest_difference(), d.mean, d.median, d.p99, d.max)?;
    if gap.not_finite() > 0 {
        writeln!(f, "  {} logits are not finite", gap.not_finite())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_apart() {
        let questions = Questions { texts: vec![vec![0, 1]], prompts: vec![vec![0]], continuation: 2 };
        let run = |logits: [f32; 4], stream: f32, next: [u32; 2]| Answers {
            logits: vec![logits.to_vec()],
            continuations: vec![next.to_vec()],
            streams: vec![vec![("embedding".to_owned(), vec![stream; 2])]],
        };
        let checkpoint = run([0.0, 0.0, 1.0, 0.0], 1.0, [1, 1]);
        let formats = run([0.5, 0.0, 1.0, 0.0], 1.5, [1, 0]);
        let mut bundle = run([0.5, 0.0, 1.25, 0.0], 0.0, [1, 0]);
        bundle.streams.clear();
        let report = compare(&questions, 2, &bundle, &checkpoint, Some(&formats)).unwrap();
        let (cost, code) = report.causes.as_ref().unwrap();
        assert_eq!((cost.largest_difference(), code.largest_difference(), report.bundle.largest_difference()), (0.5, 0.25, 0.5));
        assert_eq!((report.continuations.agreed, report.layers[0].1.largest), (1, 0.5));
        assert!((report.perplexity.0 - 2.0).abs() < 1e-9);
        let text = report.to_string();
        assert!(text.contains("bundle to formats") && text.contains("embedding") && text.contains("1 of 2 tokens"), "{text}");
        let exact = compare(&questions, 2, &checkpoint, &checkpoint, None).unwrap();
        assert_eq!((exact.bundle.largest_difference(), exact.layers.len()), (0.0, 0));
        assert!(!exact.to_string().contains("formats"));
        assert!(compare(&questions, 3, &bundle, &checkpoint, None).is_err());
    }
}

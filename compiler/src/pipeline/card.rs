//! `model-card.md`: the manifest for people, in the form of a model card. It says nothing that the manifest does not.

use std::fmt::Write as _;

use super::memory::human;
use crate::bundle::Manifest;
use crate::bundle::manifest::TensorFormat;

/// The card of a bundle whose manifest lists all files but plan and card.
pub(super) fn model_card(manifest: &Manifest) -> String {
    let model = &manifest.model;
    let mut out = format!("# {}\n\n", model.name);
    let _ = writeln!(
        out,
        "A {} model of {} parameters, compiled by {} for {}.",
        model.architecture, model.parameters, manifest.build.compiler, manifest.target.name
    );
    let _ = writeln!(out, "\n| | |\n|---|---|");
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "| {name} | {value} |");
    };
    row("licence", model.licence.as_deref().unwrap_or("not stated by the checkpoint"));
    row("source digest", &model.source_digest.to_string());
    row("runs on", &manifest.target.needs());
    row("context", &format!("{} tokens", manifest.context));
    if !manifest.decided_by_context.is_empty() {
        row("decided by the context", &manifest.decided_by_context.join("; "));
    }
    row("weights", &format!("{}, {} bits per weight", manifest.quantization.scheme, manifest.quantization.bits_per_weight));
    row("formats", &formats(&manifest.quantization.tensors));
    row("KV cache", &format!("{}, {} for each token", manifest.quantization.kv, human(manifest.memory.kv_per_token)));
    row("memory at run time", &human(manifest.memory.peak));
    row("network", "the code takes no network function from the system");
    let _ = writeln!(out, "\nAnswers are a language model's: check what matters. Behaviour, training data and limits are those of the source model.");
    out
}

/// `q4g32 × 154, q6g32 × 1, f32 × 45`, most frequent first.
fn formats(tensors: &[TensorFormat]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for tensor in tensors {
        match counts.iter_mut().find(|(dtype, _)| *dtype == tensor.dtype) {
            Some((_, count)) => *count += 1,
            None => counts.push((&tensor.dtype, 1)),
        }
    }
    counts.sort_by_key(|&(dtype, count)| (std::cmp::Reverse(count), dtype));
    counts.iter().map(|(dtype, count)| format!("{dtype} × {count}")).collect::<Vec<_>>().join(", ")
}

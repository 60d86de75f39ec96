//! `slmc inspect`: what is in a bundle, without checking or running it, or in a checkpoint, and what that saves by sharing weights.

use std::path::{Path, PathBuf};

use serde::Serialize;
use slmc::bundle::{Bundle, MANIFEST, Manifest};
use slmc::import::{Checkpoint, ImportOptions, ModelSummary, import};
use slmc::pipeline::human;
use slmc::sharing::Sharing;

use crate::report::{Failure, columns, note, say, say_json};

/// Arguments of `slmc inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A bundle or a checkpoint
    path: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// List every tensor
    #[arg(long)]
    tensors: bool,
}

/// Inspects.
pub fn run(args: &Args) -> Result<(), Failure> {
    if !args.path.exists() {
        return Err(Failure::new(format_args!("{}: no such file or folder", args.path.display())));
    }
    if args.path.join(MANIFEST).exists() {
        return bundle(args);
    }
    if args.path.join("config.json").exists() {
        return checkpoint(args);
    }
    let message = format!("{}: neither a bundle (manifest.json) nor a checkpoint (config.json)", args.path.display());
    Err(Failure::new(message))
}

fn bundle(args: &Args) -> Result<(), Failure> {
    let bundle = Bundle::open(&args.path)?;
    let manifest = &bundle.manifest;
    if args.json {
        say_json(manifest);
        return Ok(());
    }
    say(columns(&bundle_rows(&args.path, &bundle)));
    say("\nfiles");
    let files = manifest.files.iter().map(|file| vec![format!("  {}", file.path), human(file.bytes), file.sha256.to_string()]);
    say(columns(&files.collect::<Vec<_>>()));
    if args.tensors {
        say("\ntensors");
        let tensors = manifest.quantization.tensors.iter();
        let rows = tensors.map(|tensor| vec![format!("  {}", tensor.name), format!("{:?}", tensor.shape), tensor.dtype.clone()]);
        say(columns(&rows.collect::<Vec<_>>()));
    }
    Ok(())
}

fn bundle_rows(path: &Path, bundle: &Bundle) -> Vec<Vec<String>> {
    let Manifest { model, target, quantization, memory, build, .. } = &bundle.manifest;
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("bundle", format!("{} ({})", path.display(), human(bundle.bytes()))),
        row("model", format!("{}, {}, {} parameters", model.name, model.architecture, model.parameters)),
        row("licence", model.licence.clone().unwrap_or_else(|| "not stated".to_owned())),
        row("target", format!("{} ({})", target.name, target.needs())),
        row("weights", format!("{}, {} bits per weight", quantization.scheme, quantization.bits_per_weight)),
        row("KV cache", format!("{}, {} a token", quantization.kv, human(memory.kv_per_token))),
        row("context", format!("{} tokens, steps of {}", bundle.manifest.context, bundle.manifest.prefill_chunk)),
        row("memory", human(memory.peak)),
        row("symbols", bundle.manifest.privacy.undefined_symbols.join(", ")),
        row("build", format!("{}, {}, {}", build.compiler, target.backend, build.linker)),
        row("options", build.options.join(" ")),
        row("passes", build.passes.join(", ")),
        row("digest", bundle.manifest.digest.to_string()),
    ];
    rows.extend(bundle.manifest.decided_by_context.iter().map(|decided| row("by context", decided.clone())));
    rows
}

#[derive(Serialize)]
struct CheckpointJson<'a> {
    checkpoint: String,
    files: &'a [String],
    bytes: u64,
    /// None where the checkpoint cannot be imported.
    model: Option<ModelJson>,
    /// What would be stored several times.
    sharing: Option<&'a Sharing>,
    /// Why the checkpoint cannot be imported.
    faults: Vec<String>,
    /// What is odd but no fault.
    warnings: Vec<String>,
    tensors: Vec<TensorJson<'a>>,
}

#[derive(Serialize)]
struct ModelJson {
    family: &'static str,
    parameters: u64,
    layers: usize,
    blocks: usize,
    hidden: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    ffn: usize,
    vocab: usize,
    context: usize,
    tied: bool,
}

#[derive(Serialize)]
struct TensorJson<'a> {
    name: &'a str,
    dtype: &'a str,
    shape: &'a [usize],
    bytes: u64,
}

/// What is in the headers, and what the import makes of it. A checkpoint that cannot be imported can be inspected.
fn checkpoint(args: &Args) -> Result<(), Failure> {
    let checkpoint = Checkpoint::open(&args.path)?;
    let bytes = checkpoint.tensors().map(|tensor| tensor.len).sum();
    let imported = import(&args.path, &ImportOptions::default());
    let (model, faults) = match &imported {
        Ok(model) => (Some((&model.summary, Sharing::of(&model.graph, model.summary.blocks).map_err(Failure::new)?)), Vec::new()),
        Err(error) => (None, error.faults.iter().map(ToString::to_string).collect()),
    };
    let warnings = imported.as_ref().map_or_else(|_| Vec::new(), |model| model.warnings.iter().map(ToString::to_string).collect());
    if args.json {
        let tensors = checkpoint.tensors();
        let tensors = tensors.map(|t| TensorJson { name: &t.name, dtype: t.dtype.name(), shape: &t.shape, bytes: t.len }).collect();
        let sharing = model.as_ref().map(|(_, sharing)| sharing);
        let model = model.as_ref().map(|(summary, _)| ModelJson::of(summary));
        say_json(&CheckpointJson {
            checkpoint: args.path.display().to_string(),
            files: checkpoint.files(),
            bytes,
            model,
            sharing,
            faults,
            warnings,
            tensors,
        });
        return Ok(());
    }
    let elements: u64 = checkpoint.tensors().map(|tensor| tensor.elements()).sum();
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("checkpoint", format!("{} ({})", args.path.display(), human(bytes))),
        row("files", checkpoint.files().join(", ")),
        row("tensors", format!("{} with {elements} elements", checkpoint.tensors().len())),
    ];
    if let Some((summary, sharing)) = &model {
        rows.extend(model_rows(summary));
        rows.extend(sharing_rows(sharing));
    }
    say(columns(&rows));
    match &imported {
        Ok(model) => model.warnings.iter().for_each(|warning| note(format_args!("warning: {warning}"))),
        Err(error) => note(format_args!("warning: {error}")),
    }
    if args.tensors {
        let rows = checkpoint.tensors().map(|t| vec![format!("  {}", t.name), format!("{:?}", t.shape), t.dtype.name().to_owned()]);
        say(columns(&rows.collect::<Vec<_>>()));
    }
    Ok(())
}

fn model_rows(m: &ModelSummary) -> Vec<Vec<String>> {
    let layers = if m.blocks == m.layers { format!("{} layers", m.layers) } else { format!("{} layers of {} blocks", m.layers, m.blocks) };
    vec![
        vec!["model".to_owned(), format!("{}, {} parameters, {layers}", m.family, m.parameters)],
        vec![
            "sizes".to_owned(),
            format!("stream {}, feed-forward {}, {} heads of {} on {} for keys and values", m.hidden, m.ffn, m.heads, m.head_dim, m.kv_heads),
        ],
        vec!["vocabulary".to_owned(), format!("{} tokens, context of up to {}", m.vocab, m.ctx_max)],
    ]
}

/// One row for each thing that is stored once and used several times.
fn sharing_rows(sharing: &Sharing) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    if let Some(tied) = &sharing.tied {
        rows.push(vec!["tied".to_owned(), format!("{} is the head too: {} saved", tied.name, human(tied.bytes))]);
    }
    if let Some(blocks) = &sharing.blocks {
        let text =
            format!("{} stored blocks run as {} layers: {} saved in {} weights", blocks.stored, blocks.run, human(blocks.bytes), blocks.weights);
        rows.push(vec!["blocks".to_owned(), text]);
    }
    for duplicate in &sharing.duplicates {
        let text = format!("{} equals {}: {} saved", duplicate.dropped.join(", "), duplicate.kept, human(duplicate.bytes));
        rows.push(vec!["duplicate".to_owned(), text]);
    }
    let text = if sharing.bytes == 0 {
        "nothing: no weight is used twice".to_owned()
    } else {
        format!("{} ({} bytes)", human(sharing.bytes), sharing.bytes)
    };
    rows.push(vec!["sharing saves".to_owned(), text]);
    rows
}

impl ModelJson {
    fn of(m: &ModelSummary) -> Self {
        Self {
            family: m.family,
            parameters: m.parameters,
            layers: m.layers,
            blocks: m.blocks,
            hidden: m.hidden,
            heads: m.heads,
            kv_heads: m.kv_heads,
            head_dim: m.head_dim,
            ffn: m.ffn,
            vocab: m.vocab,
            context: m.ctx_max,
            tied: m.tied,
        }
    }
}

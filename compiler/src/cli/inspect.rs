//! `slmc inspect`: what is in a bundle or a checkpoint, without running or checking it.

use std::path::{Path, PathBuf};

use serde::Serialize;
use slmc::bundle::{Bundle, MANIFEST, Manifest};
use slmc::import::Checkpoint;
use slmc::pipeline::human;

use crate::report::{Failure, columns, say, say_json};

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
    vec![
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
    ]
}

#[derive(Serialize)]
struct CheckpointJson<'a> {
    checkpoint: String,
    files: &'a [String],
    bytes: u64,
    tensors: Vec<TensorJson<'a>>,
}

#[derive(Serialize)]
struct TensorJson<'a> {
    name: &'a str,
    dtype: &'a str,
    shape: &'a [usize],
    bytes: u64,
}

fn checkpoint(args: &Args) -> Result<(), Failure> {
    let checkpoint = Checkpoint::open(&args.path)?;
    let bytes = checkpoint.tensors().map(|tensor| tensor.len).sum();
    if args.json {
        let tensors = checkpoint.tensors();
        let tensors = tensors.map(|t| TensorJson { name: &t.name, dtype: t.dtype.name(), shape: &t.shape, bytes: t.len }).collect();
        say_json(&CheckpointJson { checkpoint: args.path.display().to_string(), files: checkpoint.files(), bytes, tensors });
        return Ok(());
    }
    let elements: u64 = checkpoint.tensors().map(|tensor| tensor.elements()).sum();
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    say(columns(&[
        row("checkpoint", format!("{} ({})", args.path.display(), human(bytes))),
        row("files", checkpoint.files().join(", ")),
        row("tensors", format!("{} with {elements} elements", checkpoint.tensors().len())),
    ]));
    if args.tensors {
        let rows = checkpoint.tensors().map(|t| vec![format!("  {}", t.name), format!("{:?}", t.shape), t.dtype.name().to_owned()]);
        say(columns(&rows.collect::<Vec<_>>()));
    }
    Ok(())
}

//! `slmc logits`: logits of every position as safetensors, for comparing with other implementations.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use serde_json::json;
use slmc::engine::Engine;

use super::aside;
use super::device::DeviceArgs;
use super::input;
use super::opened::Opened;
use crate::report::{Failure, note};

/// Most rows of logits held at once.
const ROWS: usize = 256;

/// Arguments of `slmc logits`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle
    bundle: PathBuf,
    /// Token ids: a JSON array in a file, or `-` for standard input
    #[arg(long, value_name = "FILE.json")]
    tokens: PathBuf,
    /// The result: `logits` f32 [T, V] and `greedy` i64 [N]
    #[arg(short, long, value_name = "OUT.safetensors")]
    output: PathBuf,
    /// Continue greedily by this many tokens
    #[arg(long, value_name = "N", default_value_t = 0)]
    greedy: usize,
    /// Tokens of one step [default: as compiled]
    #[arg(long, value_name = "C")]
    chunk: Option<u32>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

/// Computes logits.
pub fn run(args: &Args) -> Result<(), Failure> {
    let ids = input::ids(&args.tokens)?;
    let mut opened = Opened::open(&args.bundle, &args.device)?;
    opened.check_room(ids.len() + args.greedy.saturating_sub(1))?;
    let engine = &mut opened.engine;
    let vocab = engine.info().vocab;
    if let Some(id) = ids.iter().find(|id| **id >= vocab) {
        return Err(Failure::new(format_args!("{}: token id {id} is not below the vocabulary's {vocab}", args.tokens.display())));
    }
    if let Some(chunk) = args.chunk {
        engine.set_chunk(chunk)?;
    }
    let chunk = args.chunk.unwrap_or(engine.info().chunk).clamp(1, engine.info().chunk) as usize;
    let failed = |e: io::Error| aside::failed(&args.output, &e);
    let mut file = aside::begin(&args.output)?;
    {
        let mut out = BufWriter::new(file.as_file_mut());
        out.write_all(&header(ids.len(), vocab as usize, args.greedy)).map_err(failed)?;
        let mut last = Vec::new();
        // pieces of whole chunks, so that steps are those of one evaluation
        for piece in ids.chunks((ROWS / chunk).max(1) * chunk) {
            let logits = engine.eval_all(piece)?;
            write_f32(&mut out, &logits).map_err(failed)?;
            last = logits[logits.len() - vocab as usize..].to_vec();
        }
        for id in continuation(engine, last, args.greedy)? {
            out.write_all(&i64::from(id).to_le_bytes()).map_err(failed)?;
        }
        out.flush().map_err(failed)?;
    }
    aside::place(file, &args.output)?;
    if !args.quiet {
        note(format_args!("{}: logits f32 [{}, {vocab}], greedy i64 [{}]", args.output.display(), ids.len(), args.greedy));
    }
    Ok(())
}

/// The safetensors header with its length.
fn header(tokens: usize, vocab: usize, greedy: usize) -> Vec<u8> {
    let logits = tokens * vocab * 4;
    let text = json!({
        "logits": { "dtype": "F32", "shape": [tokens, vocab], "data_offsets": [0, logits] },
        "greedy": { "dtype": "I64", "shape": [greedy], "data_offsets": [logits, logits + greedy * 8] },
    })
    .to_string();
    let padded = text.len().next_multiple_of(8);
    let mut out = (padded as u64).to_le_bytes().to_vec();
    out.extend(format!("{text:<padded$}").into_bytes());
    out
}

fn write_f32(out: &mut impl Write, values: &[f32]) -> io::Result<()> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    out.write_all(&bytes)
}

/// The likeliest token, `count` times; the first of equals.
fn continuation(engine: &mut Engine, mut logits: Vec<f32>, count: usize) -> Result<Vec<u32>, Failure> {
    let mut out = Vec::with_capacity(count);
    while out.len() < count {
        if let Some(&id) = out.last() {
            logits = engine.eval_last(&[id])?;
        }
        let best = logits.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (i, &v)| if v > best.1 { (i, v) } else { best });
        out.push(best.0 as u32);
    }
    Ok(out)
}

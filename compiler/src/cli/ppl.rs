//! `slmc ppl`: how well a model predicts a text.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use slmc::score;

use super::device::DeviceArgs;
use super::model;
use super::passage::PassageArgs;
use crate::progress::Counted;
use crate::report::{Failure, columns, say, say_json};

/// Arguments of `slmc ppl`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Scored is every token that has something before it in its window. Other tools score other tokens, llama.cpp the later half \
of each window, so figures compare only with those of this command, for the same text and window.\n\nA checkpoint is compiled in f32 for this \
machine first, into a folder of slmc's cache that goes at once; it takes four bytes a weight there.")]
pub struct Args {
    /// A bundle, or a checkpoint
    #[arg(value_name = "BUNDLE|CHECKPOINT")]
    model: PathBuf,
    #[command(flatten)]
    passage: PassageArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// No progress on standard error
    #[arg(short, long)]
    quiet: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct PplJson<'a> {
    model: String,
    scheme: &'a str,
    text: String,
    text_tokens: usize,
    scored_tokens: usize,
    window: usize,
    windows: usize,
    begin_ids: &'a [u32],
    perplexity: f64,
    standard_error: f64,
    nats_per_token: f64,
    seconds: f64,
    tokens_per_second: f64,
}

/// Measures.
pub fn run(args: &Args) -> Result<(), Failure> {
    let text = args.passage.read()?;
    let mut opened = model::with_tokenizer(&args.model, &args.device, args.quiet)?;
    let window = args.passage.window(&[(&args.model, opened.engine.info().context)])?;
    let passage = args.passage.passage(&mut opened.engine, &text)?;
    let (begin, tokens) = (passage.begin.clone(), passage.ids.len());
    let windows = args.passage.cut(passage, window)?;
    let mut counted = Counted::begin("tokens", windows.evaluated(), args.quiet);
    let start = Instant::now();
    let found = score::perplexity(&mut opened.engine, &windows, &mut |count| counted.advance(count))?;
    let seconds = start.elapsed().as_secs_f64();
    drop(counted);
    if !found.value().is_finite() {
        let failure = Failure::new(format_args!("{}: the perplexity is not finite: a logit is NaN or infinite", args.model.display()));
        return Err(failure.hint("`slmc logits` writes them out; --quant f32 tells whether the checkpoint's own are"));
    }
    let json = PplJson {
        model: args.model.display().to_string(),
        scheme: &opened.bundle.manifest.quantization.scheme,
        text: args.passage.text.display().to_string(),
        text_tokens: tokens,
        scored_tokens: found.tokens(),
        window,
        windows: windows.count(),
        begin_ids: &begin,
        perplexity: found.value(),
        standard_error: found.standard_error(),
        nats_per_token: found.mean(),
        seconds,
        tokens_per_second: windows.evaluated() as f64 / seconds,
    };
    if args.json {
        say_json(&json)
    } else {
        say(json.table())
    }
    Ok(())
}

impl PplJson<'_> {
    fn table(&self) -> String {
        let each = if self.begin_ids.is_empty() { String::new() } else { format!(", each behind the tokenizer's {:?}", self.begin_ids) };
        let rows = [
            ("model", format!("{} ({})", self.model, self.scheme)),
            ("perplexity", format!("{:.4} ± {:.4}", self.perplexity, self.standard_error)),
            ("tokens", format!("{} scored of {}", self.scored_tokens, self.text_tokens)),
            ("windows", format!("{} of {} positions{each}", self.windows, self.window)),
            ("time", format!("{:.2} s, {:.1} tokens/s", self.seconds, self.tokens_per_second)),
        ];
        columns(&rows.map(|(name, value)| vec![name.to_owned(), value]))
    }
}

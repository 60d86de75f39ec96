//! `slmc compare`: how far a model is from another one with the same tokenizer.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use slmc::score::{self, Perplexity};

use super::device::DeviceArgs;
use super::model;
use super::opened::Opened;
use super::passage::{Passage, PassageArgs};
use crate::progress::Counted;
use crate::report::{Failure, columns, say, say_json};

/// Arguments of `slmc compare`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Divergence is that of B's next tokens from A's, in nats, of each token that has something before it in its window; 99 % \
of the tokens have none above the 99 % quantile.\n\nA checkpoint is compiled in f32 for this machine first, into a folder of slmc's cache that goes at \
once; it takes four bytes a weight there.")]
pub struct Args {
    /// The model to compare with: a bundle, or a checkpoint
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The model to compare: a bundle, or a checkpoint
    #[arg(value_name = "B")]
    b: PathBuf,
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
struct ModelJson<'a> {
    model: String,
    scheme: &'a str,
    perplexity: f64,
    standard_error: f64,
}

#[derive(Serialize)]
struct KlJson {
    mean: f64,
    median: f64,
    p99: f64,
    max: f64,
}

#[derive(Serialize)]
struct CompareJson<'a> {
    a: ModelJson<'a>,
    b: ModelJson<'a>,
    text: String,
    window: usize,
    tokens: usize,
    kl: KlJson,
    same_top: usize,
    same_top_rate: f64,
    largest_logit_difference: f64,
    seconds: f64,
}

/// Compares.
pub fn run(args: &Args) -> Result<(), Failure> {
    let text = args.passage.read()?;
    let mut a = model::with_tokenizer(&args.a, &args.device, args.quiet)?;
    let mut b = model::with_tokenizer(&args.b, &args.device, args.quiet)?;
    let passage = same_passage(args, &mut a, &mut b, &text)?;
    let window = args.passage.window(&[(&args.a, a.engine.info().context), (&args.b, b.engine.info().context)])?;
    let windows = args.passage.cut(passage, window)?;
    let mut counted = Counted::begin("tokens", windows.evaluated(), args.quiet);
    let start = Instant::now();
    let found = score::compare(&mut a.engine, &mut b.engine, &windows, &mut |count| counted.advance(count))?;
    let seconds = start.elapsed().as_secs_f64();
    drop(counted);
    if found.gap.not_finite() > 0 {
        let of = |found: &Perplexity, path: &Path| (!found.value().is_finite()).then(|| path.display().to_string());
        let paths: Vec<String> = [of(&found.first, &args.a), of(&found.second, &args.b)].into_iter().flatten().collect();
        let failure = Failure::new(format_args!("{}: {} logits are NaN or infinite", paths.join(", "), found.gap.not_finite()));
        return Err(failure.hint("`slmc logits` writes them out; --quant f32 tells whether the checkpoint's own are"));
    }
    let kl = found.gap.divergence();
    let json = CompareJson {
        a: ModelJson::of(&args.a, &a, &found.first),
        b: ModelJson::of(&args.b, &b, &found.second),
        text: args.passage.text.display().to_string(),
        window,
        tokens: found.gap.rows(),
        kl: KlJson { mean: kl.mean, median: kl.median, p99: kl.p99, max: kl.max },
        same_top: found.gap.same_top(),
        same_top_rate: found.gap.same_top() as f64 / found.gap.rows() as f64,
        largest_logit_difference: found.gap.largest_difference(),
        seconds,
    };
    if args.json {
        say_json(&json)
    } else {
        say(json.table())
    }
    Ok(())
}

/// The text as the tokens of both models, which have to be the same.
fn same_passage(args: &Args, a: &mut Opened, b: &mut Opened, text: &str) -> Result<Passage, Failure> {
    let differ = |what: String| {
        let message = format!("{} and {} have different tokenizers: {what}", args.a.display(), args.b.display());
        Failure::new(message).hint("only models that give the same tokens to a text can be compared token by token; `slmc ppl` measures each alone")
    };
    let (vocab_a, vocab_b) = (a.engine.info().vocab, b.engine.info().vocab);
    if vocab_a != vocab_b {
        return Err(differ(format!("vocabularies of {vocab_a} and {vocab_b} tokens")));
    }
    let passage = args.passage.passage(&mut a.engine, text)?;
    let other = args.passage.passage(&mut b.engine, text)?;
    if passage.begin != other.begin {
        return Err(differ(format!("they begin a text with the ids {:?} and {:?}", passage.begin, other.begin)));
    }
    if let Some(place) = first_difference(&passage.ids, &other.ids) {
        let shown = |opened: &mut Opened, ids: &[u32]| -> Result<String, Failure> {
            let Some(&id) = ids.get(place) else { return Ok("the end".to_owned()) };
            Ok(format!("id {id} ({:?})", opened.engine.detokenize(&[id], true)?))
        };
        let (a, b) = (shown(a, &passage.ids)?, shown(b, &other.ids)?);
        return Err(differ(format!("token {place} of {} is {a} and {b}", args.passage.text.display())));
    }
    Ok(passage)
}

/// The first place at which two sequences differ; where one ends and the other goes on they do.
fn first_difference(a: &[u32], b: &[u32]) -> Option<usize> {
    let place = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    (place < a.len().max(b.len())).then_some(place)
}

impl<'a> ModelJson<'a> {
    fn of(path: &Path, opened: &'a Opened, found: &Perplexity) -> Self {
        Self {
            model: path.display().to_string(),
            scheme: &opened.bundle.manifest.quantization.scheme,
            perplexity: found.value(),
            standard_error: found.standard_error(),
        }
    }

    fn row(&self, name: &str) -> (String, String) {
        (name.to_owned(), format!("{:.4} ± {:.4} perplexity, {} ({})", self.perplexity, self.standard_error, self.model, self.scheme))
    }
}

impl CompareJson<'_> {
    fn table(&self) -> String {
        let KlJson { mean, median, p99, max } = &self.kl;
        let rows = [
            self.a.row("A"),
            self.b.row("B"),
            ("tokens".to_owned(), format!("{} scored, windows of {} positions", self.tokens, self.window)),
            ("KL of B from A".to_owned(), format!("mean {mean:.3e}, median {median:.3e}, 99 % {p99:.3e}, max {max:.3e} nats")),
            ("same top token".to_owned(), format!("{} of {} ({:.2} %)", self.same_top, self.tokens, self.same_top_rate * 100.0)),
            ("largest logit diff".to_owned(), format!("{:.3e}", self.largest_logit_difference)),
            ("time".to_owned(), format!("{:.2} s", self.seconds)),
        ];
        columns(&rows.map(|(name, value)| vec![name, value]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_differ_where_one_ends() {
        let of = first_difference;
        assert_eq!([of(&[1, 2], &[1, 2]), of(&[1, 2], &[1, 3]), of(&[1], &[1, 2]), of(&[], &[])], [None, Some(1), Some(1), None]);
    }
}

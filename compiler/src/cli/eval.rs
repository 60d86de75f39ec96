//! `slmc eval`: how many golden questions a model answers right.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use slmc::golden::{AskError, Golden, Question, Tally, Verdict, ask};

use super::device::DeviceArgs;
use super::{input, model};
use crate::progress::Counted;
use crate::report::{Failure, columns, say, say_json};

/// Arguments of `slmc eval`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "FILE is [{\"id\": …, \"messages\": [{\"role\": …, \"content\": …}, …], \"accept\": [\"an answer\", …], \"abstain\": false}, …]. An \
answer counts if it is one of those accepted, apart from blanks around it; it abstains if some question with \"abstain\": true accepts it.\n\nA \
checkpoint is compiled in f32 for this machine first, into a folder of slmc's cache that goes at once; it takes four bytes a weight there."
)]
pub struct Args {
    /// A bundle, or a checkpoint
    #[arg(value_name = "BUNDLE|CHECKPOINT")]
    model: PathBuf,
    /// The questions, JSON; `-` for standard input
    #[arg(long, value_name = "FILE")]
    golden: PathBuf,
    /// Fail, with exit code 1, if fewer answers are accepted
    #[arg(long, value_name = "N")]
    least: Option<usize>,
    /// Most tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,
    #[command(flatten)]
    device: DeviceArgs,
    /// List the answers that are not accepted
    #[arg(short, long)]
    verbose: bool,
    /// No progress on standard error
    #[arg(short, long)]
    quiet: bool,
    /// As JSON, always with the answers that are not accepted
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct MissJson<'a> {
    id: &'a str,
    verdict: Verdict,
    answer: String,
    is_whole: bool,
    accept: &'a [String],
}

#[derive(Serialize)]
struct EvalJson<'a> {
    model: String,
    scheme: &'a str,
    golden: String,
    #[serde(flatten)]
    tally: Tally,
    not_accepted: Vec<MissJson<'a>>,
    seconds: f64,
    answer_tokens: u64,
}

/// Asks.
pub fn run(args: &Args) -> Result<(), Failure> {
    let golden = Golden::parse(&input::text(&args.golden)?).map_err(|error| {
        let failure = Failure::new(format_args!("{}: {error}", args.golden.display()));
        failure.hint("`slmc eval --help` says what a file of golden questions holds")
    })?;
    let mut opened = model::with_tokenizer(&args.model, &args.device, args.quiet)?;
    if opened.engine.info().has_chat == 0 {
        let failure = Failure::new(format_args!("{}: the model has no chat template, without which it answers no questions", args.model.display()));
        return Err(failure.hint("compile a checkpoint with a chat_template.jinja, or one in its tokenizer_config.json"));
    }
    let (mut tally, mut misses, mut answer_tokens) = (Tally::default(), Vec::new(), 0);
    let mut counted = Counted::begin("questions", golden.questions().len(), args.quiet);
    let start = Instant::now();
    for question in golden.questions() {
        let answer = ask(&mut opened.engine, question, args.max_tokens)?;
        let verdict = golden.judge(question, &answer.text);
        tally.add(verdict);
        answer_tokens += u64::from(answer.tokens);
        if !verdict.is_accepted() {
            let Question { id, accept, .. } = question;
            misses.push(MissJson { id, verdict, answer: answer.text, is_whole: answer.is_whole, accept });
        }
        counted.advance(1);
    }
    let seconds = start.elapsed().as_secs_f64();
    drop(counted);
    let json = EvalJson {
        model: args.model.display().to_string(),
        scheme: &opened.bundle.manifest.quantization.scheme,
        golden: args.golden.display().to_string(),
        tally,
        not_accepted: misses,
        seconds,
        answer_tokens,
    };
    if args.json {
        say_json(&json)
    } else {
        json.show(args.verbose)
    }
    match args.least {
        Some(least) if tally.accepted < least => {
            let message = format!("{}: {} of {} answers are accepted, --least {least} asks for more", json.model, tally.accepted, tally.questions);
            Err(Failure::new(message).hint("--verbose lists the others; a finer --quant, or --keep for some weights, costs less"))
        }
        _ => Ok(()),
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Room { .. } => Self::new(error).hint("compile with a larger --ctx"),
            AskError::Engine { .. } => Self::new(error),
        }
    }
}

impl EvalJson<'_> {
    fn show(&self, verbose: bool) {
        let Tally { questions, accepted, to_abstain, right_abstentions, wrong_abstentions } = self.tally;
        let rows = [
            ("model", format!("{} ({})", self.model, self.scheme)),
            ("accepted", format!("{accepted} of {questions} answers")),
            ("abstentions", format!("{right_abstentions} of {to_abstain} right, {wrong_abstentions} wrong")),
            ("time", format!("{:.2} s, {} tokens of answers", self.seconds, self.answer_tokens)),
        ];
        say(columns(&rows.map(|(name, value)| vec![name.to_owned(), value])));
        if verbose && !self.not_accepted.is_empty() {
            say("");
            self.not_accepted.iter().for_each(|miss| say(miss.text()));
        }
    }
}

impl MissJson<'_> {
    fn text(&self) -> String {
        let cut = if self.is_whole { "" } else { " (cut off)" };
        let accept: Vec<String> = self.accept.iter().map(|answer| format!("{answer:?}")).collect();
        format!("{}  {}: {:?}{cut}; accepted: {}", self.id, self.verdict.text(), self.answer.trim(), accept.join(", "))
    }
}

//! `slmc check`: how far a bundle is from the checkpoint that it was made of.

use std::path::PathBuf;

use super::device::DeviceArgs;
#[cfg(not(feature = "reference"))]
use crate::report::Failure;

/// Arguments of `slmc check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle
    bundle: PathBuf,
    /// The checkpoint's folder
    #[arg(long, value_name = "CHECKPOINT")]
    reference: PathBuf,
    /// Text to compare on, `-` for standard input [default: 64 made-up tokens, which no model expects]
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Most tokens of the text
    #[arg(long, value_name = "N", default_value_t = 1024)]
    tokens: usize,
    /// Tokens of each greedy continuation; 0 for none
    #[arg(long, value_name = "N", default_value_t = 16)]
    greedy: usize,
    /// Also show, layer by layer, what the bundle's formats change in the hidden states
    #[arg(long)]
    layers: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Compares.
#[cfg(not(feature = "reference"))]
pub fn run(args: &Args) -> Result<(), Failure> {
    let Args { bundle, reference, text: _, tokens: _, greedy: _, layers: _, device: _ } = args;
    let message = format!("cannot compare {} with {}: this slmc was built without the reference executor", bundle.display(), reference.display());
    Err(Failure::new(message).hint("build it with: cargo build --release -p slmc --features reference"))
}

#[cfg(feature = "reference")]
pub use with_reference::run;

#[cfg(feature = "reference")]
mod with_reference {
    use slmc::bundle::Digest;
    use slmc::check::{self, Answers, Questions};
    use slmc::compare::top;
    use slmc::engine::{Engine, TokenizeOptions};
    use slmc::import::{ImportOptions, Imported, import};
    use slmc::reference::Reference;

    use super::super::input;
    use super::super::opened::Opened;
    use super::Args;
    use crate::report::{Failure, note, put};

    /// Tokens of a text that are evaluated together.
    const PIECE: usize = 256;
    /// Tokens of the beginning of a text that are continued.
    const PROMPT: usize = 32;
    /// Texts that are continued.
    const PROMPTS: usize = 4;
    /// Tokens to compare where no text is given.
    const MADE_UP: u32 = 64;

    /// Compares.
    pub fn run(args: &Args) -> Result<(), Failure> {
        let mut opened = Opened::open(&args.bundle, &args.device)?;
        let context = opened.engine.info().context as usize;
        let vocab = opened.engine.info().vocab as usize;
        let questions = questions(args, &mut opened.engine, context, vocab as u32)?;
        let mut model = import(&args.reference, &ImportOptions { ctx: Some(context), ..ImportOptions::default() })?;
        if Digest(model.source_digest) != opened.bundle.manifest.model.source_digest {
            note(format_args!("warning: {} is not the checkpoint that {} was made of", args.reference.display(), args.bundle.display()));
        }
        let bundle = answers(&mut opened.engine, &questions)?;
        let checkpoint = referred(&model, &questions, vocab, args.layers)?;
        let has_formats = check::apply_formats(&mut model.graph, &opened.bundle.manifest.quantization).map_err(Failure::new)?;
        let formats = if has_formats { Some(referred(&model, &questions, vocab, args.layers)?) } else { None };
        let report = check::compare(&questions, vocab, &bundle, &checkpoint, formats.as_ref()).map_err(Failure::new)?;
        put(&report);
        if args.layers && formats.is_none() {
            note("the bundle is f32 throughout: its formats change no hidden state");
        }
        Ok(())
    }

    fn questions(args: &Args, engine: &mut Engine, context: usize, vocab: u32) -> Result<Questions, Failure> {
        let mut tokens = match &args.text {
            Some(path) => engine.tokenize(&input::text(path)?, TokenizeOptions::default())?,
            None => (0..MADE_UP).map(|i| i.wrapping_mul(2_654_435_761) % vocab.max(1)).collect(),
        };
        tokens.truncate(args.tokens);
        if tokens.is_empty() {
            return Err(Failure::new("there is no token to compare").hint("give a text with --text FILE, and --tokens of at least 1"));
        }
        let texts: Vec<Vec<u32>> = tokens.chunks(PIECE.min(context)).map(<[u32]>::to_vec).collect();
        let room = context.saturating_sub(args.greedy);
        let prompts = if args.greedy == 0 || room == 0 {
            Vec::new()
        } else {
            texts.iter().take(PROMPTS).map(|text| text[..text.len().min(PROMPT).min(room)].to_vec()).collect()
        };
        Ok(Questions { texts, prompts, continuation: args.greedy })
    }

    /// The checkpoint's answers by burn, with the weights as the graph now stores them.
    fn referred(model: &Imported, questions: &Questions, vocab: usize, layers: bool) -> Result<Answers, Failure> {
        let reference = Reference::new(&model.graph, &model.checkpoint).map_err(Failure::new)?;
        if reference.vocab() != vocab {
            return Err(Failure::new(format_args!("the bundle has {vocab} tokens, the checkpoint {}", reference.vocab())));
        }
        Answers::of(&reference, questions, layers).map_err(Failure::new)
    }

    fn answers(engine: &mut Engine, questions: &Questions) -> Result<Answers, Failure> {
        let mut answers = Answers::default();
        for text in &questions.texts {
            engine.reset()?;
            answers.logits.push(engine.eval_all(text)?);
        }
        for prompt in &questions.prompts {
            engine.reset()?;
            let mut logits = engine.eval_last(prompt)?;
            let mut continuation = vec![top(&logits)];
            while continuation.len() < questions.continuation {
                logits = engine.eval_last(&continuation[continuation.len() - 1..])?;
                continuation.push(top(&logits));
            }
            answers.continuations.push(continuation);
        }
        Ok(answers)
    }
}

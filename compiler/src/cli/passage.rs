//! The text that a model is measured on: its tokens, as the model's own tokenizer makes them, and the windows that they are cut into.

use std::path::{Path, PathBuf};

use slmc::engine::{Engine, EngineError, TokenizeOptions};
use slmc::score::{ScoreError, Windows};

use super::input;
use crate::report::Failure;

/// Positions of a window where neither the command line nor a context says less.
const WINDOW: usize = 512;

/// Which text, and how it is cut.
#[derive(Debug, clap::Args)]
pub struct PassageArgs {
    /// The text, UTF-8; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// Positions of a window; each starts from an empty cache with what the tokenizer puts before a text, and none overlaps another
    /// [default: 512, or the context where that is less]
    #[arg(long, value_name = "N")]
    window: Option<usize>,
    /// Take only so many tokens of the beginning of the text
    #[arg(long, value_name = "N")]
    tokens: Option<usize>,
}

/// Tokens of a text.
#[derive(Debug, PartialEq, Eq)]
pub struct Passage {
    /// What the tokenizer puts before a text.
    pub begin: Vec<u32>,
    /// The text itself.
    pub ids: Vec<u32>,
}

impl PassageArgs {
    /// Reads the text.
    pub fn read(&self) -> Result<String, Failure> {
        input::text(&self.text)
    }

    /// The text as one model's tokens; special tokens written in it are text.
    pub fn passage(&self, engine: &mut Engine, text: &str) -> Result<Passage, EngineError> {
        let mut ids = engine.tokenize(text, TokenizeOptions::default())?;
        ids.truncate(self.tokens.unwrap_or(usize::MAX));
        Ok(Passage { begin: begin(engine)?, ids })
    }

    /// The positions of a window in the least of the contexts.
    pub fn window(&self, contexts: &[(&Path, u32)]) -> Result<usize, Failure> {
        let least = contexts.iter().min_by_key(|(_, context)| *context);
        let Some((path, context)) = least.map(|(path, context)| (path, *context as usize)) else { return Ok(WINDOW) };
        match self.window {
            Some(window) if window > context => {
                let failure = Failure::new(format_args!("--window {window}: {} has a context of {context} tokens", path.display()));
                Err(failure.hint("give a smaller window, or compile with a larger --ctx"))
            }
            Some(window) => Ok(window),
            None => Ok(WINDOW.min(context)),
        }
    }

    /// Cuts a passage into windows.
    pub fn cut(&self, passage: Passage, window: usize) -> Result<Windows, Failure> {
        Windows::new::<EngineError>(passage.begin, passage.ids, window).map_err(|error| match error {
            ScoreError::Window { .. } => Failure::new(format_args!("--window: {error}")),
            _ => Failure::new(format_args!("{}: {error}", self.text.display())).hint("give a longer text, or more --tokens"),
        })
    }
}

impl From<ScoreError<EngineError>> for Failure {
    fn from(error: ScoreError<EngineError>) -> Self {
        match error {
            ScoreError::Model(error) => error.into(),
            error => Self::new(error),
        }
    }
}

/// The tokens that the tokenizer puts before a text: what stands before a short one in its frame.
fn begin(engine: &mut Engine) -> Result<Vec<u32>, EngineError> {
    let plain = engine.tokenize("a", TokenizeOptions::default())?;
    let framed = engine.tokenize("a", TokenizeOptions { frame: true, ..TokenizeOptions::default() })?;
    let place = framed.windows(plain.len().max(1)).position(|ids| ids == plain);
    Ok(framed[..place.unwrap_or(0)].to_vec())
}

//! From a prompt to an answer: prefill what the cache does not hold yet, then sample, decode and stream.
//!
//! The prompt is always the whole conversation. What the cache already holds of it is kept, so that the next turn of a
//! chat prefills its new tokens only. Text is handed out in pieces of valid UTF-8 and never contains a stop string or
//! what may yet become one.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::fault::{Code, Fault, Outcome};
use crate::platform::unix;
use crate::sample::Sampling;
use crate::session::{Logits, Session};
use crate::text::{no_tokenizer, stop_fault};
use crate::tokenizer::{Decoder, StopMatcher};

/// The id that comes with the text that is left at the end of an answer.
pub const NO_TOKEN: u32 = u32::MAX;

/// Why an answer ended. Values are part of the ABI.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Not at all: the call failed.
    Failed = 0,
    /// The model ended it.
    EndOfText = 1,
    /// The token limit.
    Limit = 2,
    /// A stop string.
    Stop = 3,
    /// The cancel flag.
    Cancelled = 4,
    /// The receiver of the pieces wanted no more.
    Receiver = 5,
}

/// How to answer.
#[derive(Clone, Copy, Debug)]
pub struct Generation<'a> {
    /// How to pick tokens.
    pub sampling: Sampling,
    /// Most tokens of the answer; 0 = what the context holds.
    pub max_tokens: u32,
    /// Go on after tokens that end an answer.
    pub ignore_eos: bool,
    /// Write special tokens out as text.
    pub show_special: bool,
    /// Strings that end the answer and are not part of it.
    pub stops: &'a [&'a [u8]],
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Why it ended.
    pub end: End,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Of these, tokens that the cache already held.
    pub reused_tokens: u32,
    /// Tokens of the answer; the one that ended it is not counted.
    pub tokens: u32,
    /// Time of the prefill, nanoseconds.
    pub prefill_ns: u64,
    /// Time from the end of the prefill to the end of the answer, nanoseconds.
    pub decode_ns: u64,
}

impl Generated {
    /// Before anything happened.
    pub const NONE: Self = Self { end: End::Failed, prompt_tokens: 0, reused_tokens: 0, tokens: 0, prefill_ns: 0, decode_ns: 0 };
}

/// Takes each token of the answer with the text it completes (which may be empty), and at the end [`NO_TOKEN`] with
/// what text is left. False ends the answer.
pub type Receiver<'a> = &'a mut dyn FnMut(u32, &[u8]) -> bool;

/// Answers the prompt. `done` is filled as far as it came, also when an error ends it.
///
/// # Errors
/// Those of [`Session::eval`]; [`Code::ContextFull`] also when the answer fills the context; [`Code::Argument`] for
/// sampling or stop strings that are refused; [`Code::NoText`] for stop strings without a tokenizer.
pub fn generate(
    session: &mut Session<'_>,
    prompt: &[u32],
    how: &Generation<'_>,
    cancel: &AtomicBool,
    receiver: Receiver<'_>,
    done: &mut Generated,
) -> Outcome<()> {
    *done = Generated::NONE;
    how.sampling.check()?;
    let mut stream = Stream { stops: StopMatcher::new(), decoder: Decoder::default(), skip_special: !how.show_special };
    for (index, stop) in (0u32..).zip(how.stops) {
        if !session.text().is_present() {
            return Err(no_tokenizer());
        }
        if core::str::from_utf8(stop).is_err() {
            return Err(Fault::new(Code::Utf8, "stop strings", "one is not UTF-8").at(index));
        }
        stream.stops.add(stop).map_err(|error| stop_fault(error, index))?;
    }
    session.check_prompt(prompt)?;

    let start = unix::clock_ns();
    done.prompt_tokens = prompt.len() as u32;
    done.reused_tokens = session.keep_common_prefix(prompt);
    let prefilled = session.eval(&prompt[done.reused_tokens as usize..], logits_for(&how.sampling), cancel);
    let after_prefill = unix::clock_ns();
    done.prefill_ns = after_prefill - start;
    let ended = prefilled.and_then(|()| answer(session, how, cancel, receiver, &mut stream, &mut done.tokens));
    let ended = match ended {
        Err(fault) if fault.code == Code::Cancelled => Ok(End::Cancelled),
        other => other,
    };
    if ended != Ok(End::Stop) {
        let rest = stream.finish(session);
        if !rest.is_empty() && ended != Ok(End::Receiver) {
            receiver(NO_TOKEN, rest);
        }
    }
    done.decode_ns = unix::clock_ns() - after_prefill;
    done.end = ended?;
    Ok(())
}

fn answer(
    session: &mut Session<'_>,
    how: &Generation<'_>,
    cancel: &AtomicBool,
    receiver: Receiver<'_>,
    stream: &mut Stream,
    tokens: &mut u32,
) -> Outcome<End> {
    loop {
        if how.max_tokens != 0 && *tokens == how.max_tokens {
            return Ok(End::Limit);
        }
        if cancel.swap(false, Ordering::Relaxed) {
            return Ok(End::Cancelled);
        }
        let id = session.sample(&how.sampling)?;
        if !how.ignore_eos && session.text().is_eos(id) {
            return Ok(End::EndOfText);
        }
        *tokens += 1;
        let (piece, stopped) = stream.push(session, id);
        let wanted = receiver(id, piece);
        if stopped {
            return Ok(End::Stop);
        }
        if !wanted {
            return Ok(End::Receiver);
        }
        if how.max_tokens != 0 && *tokens == how.max_tokens {
            return Ok(End::Limit);
        }
        session.eval(&[id], logits_for(&how.sampling), cancel)?;
    }
}

/// What sampling needs to read of the logits.
fn logits_for(sampling: &Sampling) -> Logits<'static> {
    if sampling.takes_greatest() { Logits::Pick } else { Logits::Last }
}

/// Ids to certain text.
struct Stream {
    stops: StopMatcher,
    decoder: Decoder,
    skip_special: bool,
}

impl Stream {
    fn push<'s>(&mut self, session: &'s mut Session<'_>, id: u32) -> (&'s [u8], bool) {
        let (tokenizer, piece, sure) = session.text_mut().stream_buffers();
        let Some(tokenizer) = tokenizer else { return (&[], false) };
        // The buffer has the length that the tokenizer asks for, so this does not fail.
        let len = tokenizer.decode_piece(id, self.skip_special, &mut self.decoder, piece).unwrap_or(0);
        let step = self.stops.push(&piece[..len], sure);
        (&sure[..step.written], step.stopped.is_some())
    }

    /// What is left: an unfinished character and text that turned out not to be a stop string.
    fn finish<'s>(&mut self, session: &'s mut Session<'_>) -> &'s [u8] {
        let (tokenizer, piece, sure) = session.text_mut().stream_buffers();
        if tokenizer.is_none() {
            return &[];
        }
        let len = self.decoder.finish(piece);
        let step = self.stops.push(&piece[..len], sure);
        let held = if step.stopped.is_some() { 0 } else { self.stops.finish(&mut sure[step.written..]) };
        &sure[..step.written + held]
    }
}

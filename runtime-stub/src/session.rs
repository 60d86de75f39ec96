//! One conversation: arena, KV cache, position and the tokens it holds.
//!
//! `eval` is the only thing that moves forward. It checks everything before it writes anything, splits long inputs into
//! steps of at most `chunk` tokens, and counts a step's tokens only when the step is done, so that an error or a
//! cancel between steps leaves a session that can go on from its position.

use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use crate::abi::{Step, list, region};
use crate::fault::{Code, Fault, Outcome};
use crate::model::Model;
use crate::platform::memory::{Table, Workspace};
use crate::platform::unix;
use crate::sample::{Sampling, sample};
use crate::text::Text;
use crate::walk::Walk;

/// Which logits an evaluation leaves.
pub enum Logits<'a> {
    /// None: the head does not run.
    None,
    /// Of the last token, for [`Session::logits`].
    Last,
    /// Of every token: f32 [tokens, vocab] is written here; the last row is left for [`Session::logits`] as well.
    All(&'a mut [f32]),
}

/// A conversation with a model.
pub struct Session<'m> {
    model: &'m Model<'m>,
    arena: Workspace,
    _kv: Workspace,
    addresses: Table<AtomicPtr<u8>>,
    tokens: Table<u32>,
    scratch: Table<u64>,
    position: u32,
    chunk: u32,
    /// Which row of the logits buffer belongs to the last token.
    logits_row: Option<u32>,
    text: Text<'m>,
    timings: Timings,
}

/// Where the time of a session went. In C: `slm_timings`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Opening the model: threads, verification, tokenizer; nanoseconds.
    pub load_ns: u64,
    /// Evaluations of more than one token, nanoseconds.
    pub prefill_ns: u64,
    /// Tokens of these.
    pub prefill_tokens: u64,
    /// Evaluations of one token, nanoseconds.
    pub decode_ns: u64,
    /// Tokens of these.
    pub decode_tokens: u64,
    /// Picking tokens, nanoseconds.
    pub sample_ns: u64,
    /// Tokens picked.
    pub sample_tokens: u64,
}

impl<'m> Session<'m> {
    /// Takes arena, cache and scratch from the system, zeroed.
    ///
    /// # Errors
    /// [`Code::Memory`].
    pub fn open(model: &'m Model<'m>) -> Outcome<Self> {
        let plan = model.plan();
        let header = &plan.header;
        let memory = |what| move |errno| Fault::system(Code::Memory, "session", what, errno);
        let arena = Workspace::zeroed(header.arena_bytes).map_err(memory("no memory for the arena"))?;
        let kv = Workspace::zeroed(header.kv_bytes).map_err(memory("no memory for the KV cache"))?;
        let tokens = Table::zeroed(header.ctx as usize).map_err(memory("no memory for token ids"))?;
        let scratch = Table::zeroed(header.vocab as usize).map_err(memory("no memory for sampling"))?;
        let addresses: Table<AtomicPtr<u8>> = Table::zeroed(header.bindings.count as usize).map_err(memory("no memory for bindings"))?;
        for (index, address) in addresses.iter().enumerate() {
            let binding = plan.binding(index as u32);
            let base = match binding.region {
                region::ARENA => arena.address(),
                region::KV => kv.address(),
                _ => model.bundle().weights().map.address(),
            };
            address.store(base.wrapping_add(binding.offset as usize), Ordering::Relaxed);
        }
        let chunk = header.chunk;
        Ok(Self {
            model,
            arena,
            _kv: kv,
            addresses,
            tokens,
            scratch,
            position: 0,
            chunk,
            logits_row: None,
            text: Text::open(model)?,
            timings: Timings { load_ns: model.load_ns(), ..Timings::default() },
        })
    }

    /// The model.
    pub fn model(&self) -> &'m Model<'m> {
        self.model
    }

    /// Tokens in the cache.
    pub fn position(&self) -> u32 {
        self.position
    }

    /// The tokens in the cache.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens[..self.position as usize]
    }

    /// Ids from and to text.
    pub fn text(&self) -> &Text<'m> {
        &self.text
    }

    /// Ids from and to text, with working memory.
    pub fn text_mut(&mut self) -> &mut Text<'m> {
        &mut self.text
    }

    /// Where the time went since the session opened.
    pub fn timings(&self) -> Timings {
        self.timings
    }

    /// Tokens of one step from now on, 1 ..= the plan's chunk; 0 = the plan's chunk. Results differ by rounding only.
    ///
    /// # Errors
    /// [`Code::Argument`].
    pub fn set_chunk(&mut self, chunk: u32) -> Outcome<()> {
        let most = self.model.plan().header.chunk;
        if chunk > most {
            return Err(Fault::new(Code::Argument, "chunk", "is more than the bundle was compiled for").numbers(most.into(), chunk.into()));
        }
        self.chunk = if chunk == 0 { most } else { chunk };
        Ok(())
    }

    /// Appends tokens and computes logits as asked. `cancel` is looked at before each step, and cleared when it is seen.
    ///
    /// # Errors
    /// [`Code::Argument`] for no tokens, [`Code::ContextFull`], [`Code::Token`], [`Code::Buffer`]: nothing happened.
    /// [`Code::Cancelled`]: [`Session::position`] says how far it came.
    pub fn eval(&mut self, ids: &[u32], mut logits: Logits<'_>, cancel: &AtomicBool) -> Outcome<()> {
        self.check(ids, &logits)?;
        self.logits_row = None;
        let start = unix::clock_ns();
        let before = self.position;
        let outcome = self.run_steps(ids, &mut logits, cancel);
        let (time, tokens) = (unix::clock_ns() - start, u64::from(self.position - before));
        if ids.len() == 1 {
            self.timings.decode_ns += time;
            self.timings.decode_tokens += tokens;
        } else {
            self.timings.prefill_ns += time;
            self.timings.prefill_tokens += tokens;
        }
        outcome
    }

    fn run_steps(&mut self, ids: &[u32], logits: &mut Logits<'_>, cancel: &AtomicBool) -> Outcome<()> {
        let vocab = self.model.plan().header.vocab as usize;
        let mut done = 0;
        for step in ids.chunks(self.chunk as usize) {
            if cancel.swap(false, Ordering::Relaxed) {
                return Err(Fault::new(Code::Cancelled, "session", "evaluation was cancelled"));
            }
            self.body(step);
            done += step.len();
            match logits {
                Logits::None => {}
                Logits::Last if done < ids.len() => {}
                Logits::Last => self.head(step.len() as u32 - 1, 1, None),
                Logits::All(out) => {
                    let rows = &mut out[(done - step.len()) * vocab..done * vocab];
                    self.all_heads(step.len() as u32, rows);
                }
            }
        }
        Ok(())
    }

    /// Logits after the last token, `f32 [vocab]`.
    ///
    /// # Errors
    /// [`Code::State`] if the last evaluation computed none, or the session moved since.
    pub fn logits(&self) -> Outcome<&[f32]> {
        let Some(row) = self.logits_row else {
            return Err(Fault::new(Code::State, "session", "has no logits at this position").hint("evaluate a token with logits first"));
        };
        let header = &self.model.plan().header;
        let offset = header.logits + u64::from(row) * u64::from(header.vocab) * 4;
        Ok(self.arena.values(offset, header.vocab as usize))
    }

    /// Picks the next token from [`Session::logits`]. It is not evaluated.
    ///
    /// # Errors
    /// [`Code::State`] without logits, [`Code::Argument`] for parameters out of range.
    pub fn sample(&mut self, sampling: &Sampling) -> Outcome<u32> {
        sampling.check()?;
        let start = unix::clock_ns();
        let mut scratch = core::mem::replace(&mut self.scratch, Table::empty());
        let picked = self.logits().map(|logits| sample(logits, self.tokens(), sampling, self.position, &mut scratch));
        self.scratch = scratch;
        self.timings.sample_ns += unix::clock_ns() - start;
        self.timings.sample_tokens += u64::from(picked.is_ok());
        picked
    }

    /// Goes back to an empty cache.
    pub fn reset(&mut self) {
        self.position = 0;
        self.logits_row = None;
    }

    /// Goes back to `position`: later tokens are forgotten.
    ///
    /// # Errors
    /// [`Code::Argument`] if the session has not come that far, [`Code::State`] if a windowed cache has dropped
    /// positions that would be needed (then only 0 is possible).
    pub fn rewind(&mut self, position: u32) -> Outcome<()> {
        if position > self.position {
            return Err(Fault::new(Code::Argument, "position", "lies ahead of the session").numbers(self.position.into(), position.into()));
        }
        if position != 0 && position != self.position && !self.model.plan().rewinds() {
            return Err(Fault::new(Code::State, "session", "has a windowed cache, which goes back to position 0 only"));
        }
        if position != self.position {
            self.position = position;
            self.logits_row = None;
        }
        Ok(())
    }

    /// Makes the cache a prefix of `ids` that is shorter than `ids`, as long as possible, and returns its length: what
    /// remains to be evaluated starts there.
    pub fn keep_common_prefix(&mut self, ids: &[u32]) -> u32 {
        let most = ids.len().saturating_sub(1);
        let common = self.tokens().iter().zip(&ids[..most]).take_while(|(a, b)| a == b).count() as u32;
        if self.rewind(common).is_err() {
            self.reset();
        }
        self.position
    }

    fn check(&self, ids: &[u32], logits: &Logits<'_>) -> Outcome<()> {
        let header = &self.model.plan().header;
        self.check_ids(ids, header.ctx - self.position)?;
        if let Logits::All(out) = logits {
            let needed = ids.len() as u64 * u64::from(header.vocab);
            if (out.len() as u64) < needed {
                return Err(Fault::new(Code::Buffer, "logits", "buffer is too small").numbers(needed, out.len() as u64));
            }
        }
        Ok(())
    }

    /// Whether a whole conversation of these tokens fits.
    ///
    /// # Errors
    /// [`Code::Argument`], [`Code::ContextFull`], [`Code::Token`].
    pub fn check_prompt(&self, ids: &[u32]) -> Outcome<()> {
        self.check_ids(ids, self.model.plan().header.ctx)
    }

    fn check_ids(&self, ids: &[u32], free: u32) -> Outcome<()> {
        let (free, vocab) = (u64::from(free), self.model.plan().header.vocab);
        if ids.is_empty() {
            return Err(Fault::new(Code::Argument, "token ids", "are none"));
        }
        if ids.len() as u64 > free {
            return Err(Fault::new(Code::ContextFull, "context", "has no room for this many tokens")
                .numbers(free, ids.len() as u64)
                .hint("shorten or reset the session, or compile with a larger --ctx"));
        }
        if let Some(at) = ids.iter().position(|&id| id >= vocab) {
            return Err(Fault::new(Code::Token, "token id", "is not below the vocabulary").at(at as u32).numbers(vocab.into(), ids[at].into()));
        }
        Ok(())
    }

    fn body(&mut self, ids: &[u32]) {
        let header = &self.model.plan().header;
        let input = self.arena.values_mut::<u32>(header.token_ids, ids.len());
        input.copy_from_slice(ids);
        let t = ids.len() as u32;
        let list = if t == 1 { list::DECODE } else { list::CHUNK };
        self.walk(list, Step { t, p: self.position, row: 0, reserved: 0 });
        self.tokens[self.position as usize..][..ids.len()].copy_from_slice(ids);
        self.position += t;
    }

    fn all_heads(&mut self, rows: u32, out: &mut [f32]) {
        let header = &self.model.plan().header;
        let most = header.head_rows;
        let mut row = 0;
        for part in out.chunks_mut(most as usize * header.vocab as usize) {
            let count = most.min(rows - row);
            self.head(row, count, Some(part));
            row += count;
        }
    }

    /// Logits of `count` rows of the step's hidden states, from `row` on; leaves the last one as the session's logits.
    fn head(&mut self, row: u32, count: u32, out: Option<&mut [f32]>) {
        let header = &self.model.plan().header;
        let list = if count == 1 { list::HEAD_ONE } else { list::HEAD_ROWS };
        self.walk(list, Step { t: count, p: self.position, row, reserved: 0 });
        if let Some(out) = out {
            out.copy_from_slice(self.arena.values(header.logits, out.len()));
        }
        self.logits_row = Some(count - 1);
    }

    fn walk(&mut self, list: usize, step: Step) {
        let model = self.model;
        model.pool().run(&Walk { plan: model.plan(), kernels: model.kernels(), addresses: &self.addresses, list, step });
    }
}

//! One conversation: its memory on the device, position and the tokens it holds.
//!
//! `eval` is the only thing that moves forward. It checks everything before it writes anything, splits long inputs into
//! steps of at most `chunk` tokens, and counts a step's tokens only when the step is done, so that an error or a
//! cancel between steps leaves a session that can go on from its position.
//!
//! Each step is one call of the device, body and head together: on a GPU the way there and back costs more than the
//! head of a small model.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::abi::{NO_PICK, Step, list};
use crate::device::{Memory, Read, Run, Timed};
use crate::fault::{Code, Fault, Outcome};
use crate::model::Model;
use crate::platform::memory::Table;
use crate::platform::unix;
use crate::sample::{Sampling, sample};
use crate::text::Text;

/// Which logits an evaluation leaves.
pub enum Logits<'a> {
    /// None: the head does not run.
    None,
    /// Of the last token, for [`Session::logits`].
    Last,
    /// Of the last token, left on the device with the id of the greatest one: enough for [`Session::sample`] without
    /// penalties at temperature 0, and fetched when something else asks. As [`Logits::Last`] where the plan cannot pick.
    Pick,
    /// Of every token: f32 [tokens, vocab] is written here; the last row is left for [`Session::logits`] as well.
    All(&'a mut [f32]),
}

/// A conversation with a model.
pub struct Session<'m> {
    model: &'m Model<'m>,
    memory: Memory<'m>,
    tokens: Table<u32>,
    scratch: Table<u64>,
    position: u32,
    /// Positions below this may have been written since the cache was last empty.
    written: u32,
    chunk: u32,
    last: LastRow,
    text: Text<'m>,
    timings: Timings,
}

/// Where the logits of the last token are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastRow {
    /// Nowhere.
    Nowhere,
    /// In row 0 on the device; the greatest one has this id.
    Picked(u32),
    /// In this row, readable.
    Row(u32),
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
    /// [`Code::Memory`], [`Code::Device`].
    pub fn open(model: &'m Model<'m>) -> Outcome<Self> {
        let plan = model.plan();
        let header = &plan.header;
        let memory = |what| move |errno| Fault::system(Code::Memory, "session", what, errno);
        let tokens = Table::zeroed(header.ctx as usize).map_err(memory("no memory for token ids"))?;
        let scratch = Table::zeroed(header.vocab as usize).map_err(memory("no memory for sampling"))?;
        let device = model.device().memory(plan)?;
        let chunk = header.chunk;
        Ok(Self {
            model,
            memory: device,
            tokens,
            scratch,
            position: 0,
            written: 0,
            chunk,
            last: LastRow::Nowhere,
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
    /// [`Code::Cancelled`], [`Code::Device`]: [`Session::position`] says how far it came.
    pub fn eval(&mut self, ids: &[u32], mut logits: Logits<'_>, cancel: &AtomicBool) -> Outcome<()> {
        self.check(ids, &logits)?;
        self.last = LastRow::Nowhere;
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

    /// Appends tokens as one step, with logits for the last, and hands `take` the kernel and the nanoseconds of each
    /// dispatch, head included. Dispatches run one at a time, so the whole takes longer than it would in
    /// [`Session::eval`].
    ///
    /// # Errors
    /// Those of [`Session::eval`]; [`Code::Argument`] for more tokens than one step takes; [`Code::State`] if the
    /// device has no clock.
    pub fn profile(&mut self, ids: &[u32], take: Timed<'_>) -> Outcome<()> {
        self.check(ids, &Logits::Last)?;
        if ids.len() > self.chunk as usize {
            return Err(Fault::new(Code::Argument, "token ids", "are more than one step takes").numbers(self.chunk.into(), ids.len() as u64));
        }
        self.last = LastRow::Nowhere;
        let plan = self.model.plan();
        let (t, after) = (ids.len() as u32, self.position + ids.len() as u32);
        let list = if t == 1 { list::DECODE } else { list::CHUNK };
        let body = Run { list, step: Step { t, p: self.position, row: 0, reserved: 0 } };
        self.written = self.written.max(after);
        let one = Run { list: list::HEAD_ONE, step: Step { t: 1, p: after, row: t - 1, reserved: 0 } };
        let pick = Run { list: list::ARGMAX, ..one };
        self.memory.profile(plan, ids, &[body, one, pick], take)?;
        self.memory.fetch_logits(plan, 1)?;
        self.tokens[self.position as usize..][..ids.len()].copy_from_slice(ids);
        self.position = after;
        self.last = LastRow::Row(0);
        Ok(())
    }

    fn run_steps(&mut self, ids: &[u32], logits: &mut Logits<'_>, cancel: &AtomicBool) -> Outcome<()> {
        let vocab = self.model.plan().header.vocab as usize;
        let mut done = 0;
        for step in ids.chunks(self.chunk as usize) {
            if cancel.swap(false, Ordering::Relaxed) {
                return Err(Fault::new(Code::Cancelled, "session", "evaluation was cancelled"));
            }
            done += step.len();
            let rows = match logits {
                Logits::All(out) => Head::Rows(&mut out[(done - step.len()) * vocab..done * vocab]),
                Logits::Last if done == ids.len() => Head::Last,
                Logits::Pick if done == ids.len() && self.model.plan().header.picked == NO_PICK => Head::Last,
                Logits::Pick if done == ids.len() => Head::Pick,
                Logits::None | Logits::Last | Logits::Pick => Head::None,
            };
            self.step(step, rows)?;
        }
        Ok(())
    }

    /// Logits after the last token, `f32 [vocab]`.
    ///
    /// # Errors
    /// [`Code::State`] if the last evaluation computed none, or the session moved since.
    pub fn logits(&mut self) -> Outcome<&[f32]> {
        let row = self.fetch()?;
        let plan = self.model.plan();
        Ok(self.memory.logits(plan, row, plan.header.vocab as usize))
    }

    /// The row of the last token's logits, readable.
    fn fetch(&mut self) -> Outcome<u32> {
        match self.last {
            LastRow::Row(row) => Ok(row),
            LastRow::Picked(_) => {
                self.memory.fetch_logits(self.model.plan(), 1)?;
                self.last = LastRow::Row(0);
                Ok(0)
            }
            LastRow::Nowhere => Err(Fault::new(Code::State, "session", "has no logits at this position").hint("evaluate a token with logits first")),
        }
    }

    /// Picks the next token from [`Session::logits`]. It is not evaluated.
    ///
    /// # Errors
    /// [`Code::State`] without logits, [`Code::Argument`] for parameters out of range.
    pub fn sample(&mut self, sampling: &Sampling) -> Outcome<u32> {
        sampling.check()?;
        let start = unix::clock_ns();
        let picked = self.pick(sampling);
        self.timings.sample_ns += unix::clock_ns() - start;
        self.timings.sample_tokens += u64::from(picked.is_ok());
        picked
    }

    fn pick(&mut self, sampling: &Sampling) -> Outcome<u32> {
        if let LastRow::Picked(id) = self.last
            && sampling.takes_greatest()
        {
            return Ok(id);
        }
        let row = self.fetch()?;
        let plan = self.model.plan();
        let logits = self.memory.logits(plan, row, plan.header.vocab as usize);
        Ok(sample(logits, &self.tokens[..self.position as usize], sampling, self.position, &mut self.scratch))
    }

    /// Goes back to an empty cache.
    pub fn reset(&mut self) {
        self.position = 0;
        self.written = 0;
        self.last = LastRow::Nowhere;
    }

    /// Goes back to `position`: later tokens are forgotten.
    ///
    /// # Errors
    /// [`Code::Argument`] if the session has not come that far, [`Code::State`] if a windowed cache no longer has what tokens
    /// from there on see (0 is always possible).
    pub fn rewind(&mut self, position: u32) -> Outcome<()> {
        if position > self.position {
            return Err(Fault::new(Code::Argument, "position", "lies ahead of the session").numbers(self.position.into(), position.into()));
        }
        if position != self.position && !self.model.plan().keeps(position, self.written) {
            return Err(Fault::new(Code::State, "session", "has windowed caches that no longer hold what is seen from this position")
                .numbers(self.position.into(), position.into())
                .hint("reset the session and evaluate the text again"));
        }
        if position == 0 {
            self.written = 0;
        }
        if position != self.position {
            self.position = position;
            self.last = LastRow::Nowhere;
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

    /// One step of the body with what follows it; the position moves when all of it is done.
    fn step(&mut self, ids: &[u32], head: Head<'_>) -> Outcome<()> {
        let plan = self.model.plan();
        let (t, p) = (ids.len() as u32, self.position);
        let after = p + t;
        let run = |list, t, p, row| Run { list, step: Step { t, p, row, reserved: 0 } };
        self.written = self.written.max(after);
        let body = run(if t == 1 { list::DECODE } else { list::CHUNK }, t, p, 0);
        let one = run(list::HEAD_ONE, 1, after, t - 1);
        let last = match head {
            Head::None => {
                self.memory.run(plan, ids, &[body], Read::Nothing)?;
                LastRow::Nowhere
            }
            Head::Last => {
                self.memory.run(plan, ids, &[body, one], Read::Logits(1))?;
                LastRow::Row(0)
            }
            Head::Pick => {
                self.memory.run(plan, ids, &[body, one, Run { list: list::ARGMAX, step: one.step }], Read::Picked)?;
                LastRow::Picked(self.checked_pick()?)
            }
            Head::Rows(out) => {
                let most = plan.header.head_rows;
                let mut row = 0;
                for part in out.chunks_mut(most as usize * plan.header.vocab as usize) {
                    let count = most.min(t - row);
                    let runs = [body, run(if count == 1 { list::HEAD_ONE } else { list::HEAD_ROWS }, count, after, row)];
                    let (ids, runs) = if row == 0 { (ids, &runs[..]) } else { (&ids[..0], &runs[1..]) };
                    self.memory.run(plan, ids, runs, Read::Logits(count))?;
                    part.copy_from_slice(self.memory.logits(plan, 0, part.len()));
                    row += count;
                }
                LastRow::Row((t - 1) % most)
            }
        };
        self.tokens[p as usize..][..ids.len()].copy_from_slice(ids);
        self.position = after;
        self.last = last;
        Ok(())
    }

    /// What the device picked, which is an id unless the driver or its memory is broken.
    fn checked_pick(&self) -> Outcome<u32> {
        let plan = self.model.plan();
        let id = self.memory.picked(plan);
        if id >= plan.header.vocab {
            return Err(
                Fault::new(Code::Device, "device", "picked an id that is not below the vocabulary").numbers(plan.header.vocab.into(), id.into())
            );
        }
        Ok(id)
    }
}

/// What follows the body in a step.
enum Head<'a> {
    None,
    /// Logits of the last row.
    Last,
    /// The id of the greatest logit of the last row.
    Pick,
    /// Logits of all rows, written here.
    Rows(&'a mut [f32]),
}

//! The interpreter of plans: walks the dispatch lists with arena, KV cache and weights as a stub does, every kernel by
//! [`super::kernel`]. It is the oracle for every back end.
//!
//! A step of one token takes the list `decode`, of more the list `prefill`; then the head runs on the rows that are asked
//! for, one row by `head_one`, more by `head_many`. The arena starts as bytes 0xff (NaN as a float), because nothing may
//! depend on what it holds before it is written; the KV cache starts as zeros.

use super::kernel::{Compiled, Fault, Machine, Memory, Place, Region, SUBGROUP_LANES, Step};
use crate::arena::Id;
use crate::diag::VerifyError;
use crate::kernel::{KernelId, KernelModule};
use crate::plan::{Binding, Dispatch, Plan, place_of};

/// A session: the memory of one sequence of tokens.
#[derive(Debug)]
pub struct PlanInterp<'a> {
    plan: &'a Plan,
    kernels: Vec<Compiled>,
    weights: &'a [u8],
    arena: Vec<u8>,
    kv: Vec<u8>,
    position: u32,
    /// Positions below this were written since the cache was last empty.
    written: u32,
    subgroup: u32,
}

/// Why a session could not be opened or a step not be run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// Kernels whose structure is not sound.
    #[error("kernels are not sound:\n{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Kernels(Vec<VerifyError>),
    /// Weights of another size than the plan's.
    #[error("the plan needs {expected} bytes of weights, found {found}")]
    Weights {
        /// Bytes of the plan.
        expected: u64,
        /// Bytes given.
        found: u64,
    },
    /// Memory that this machine cannot address.
    #[error("the plan's arena of {arena} bytes and KV cache of {kv} bytes do not fit in memory")]
    Memory {
        /// Bytes of the arena.
        arena: u64,
        /// Bytes of the KV cache.
        kv: u64,
    },
    /// A token that the vocabulary lacks.
    #[error("token {id} at index {index} is not below the vocabulary of {vocab}")]
    Token {
        /// Index among the tokens given.
        index: usize,
        /// The token.
        id: u32,
        /// Size of the vocabulary.
        vocab: u32,
    },
    /// More tokens than the context holds.
    #[error("{tokens} tokens at position {position} exceed the context of {ctx}; reset or rewind the session, or compile with a larger context")]
    Context {
        /// Tokens given.
        tokens: usize,
        /// Tokens in the cache.
        position: u32,
        /// Most tokens in the cache.
        ctx: u32,
    },
    /// A chunk that the plan cannot run.
    #[error("chunks of {chunk} tokens; the plan runs 1 to {most}")]
    Chunk {
        /// As asked.
        chunk: u32,
        /// The plan's.
        most: u32,
    },
    /// A position to rewind to that lies ahead, or whose window was overwritten.
    #[error("cannot rewind to position {to}: the session is at {position}, or its windowed caches no longer hold what is seen from there")]
    Rewind {
        /// As asked.
        to: u32,
        /// Where the session is.
        position: u32,
    },
    /// A dispatch that names something the plan lacks, or a buffer outside its region.
    #[error("{list}[{index}]: {what}")]
    Dispatch {
        /// The list.
        list: &'static str,
        /// The dispatch in it.
        index: usize,
        /// What is wrong.
        what: String,
    },
    /// A kernel did what no verified kernel does.
    #[error("{list}[{index}]: {fault}")]
    Fault {
        /// The list.
        list: &'static str,
        /// The dispatch in it.
        index: usize,
        /// The fault.
        fault: Fault,
    },
}

impl<'a> PlanInterp<'a> {
    /// Opens a session at position 0. `weights` are the bytes of `weights.bin`.
    pub fn new(plan: &'a Plan, kernels: &KernelModule, weights: &'a [u8]) -> Result<Self, PlanError> {
        let (mut compiled, mut errors) = (Vec::new(), Vec::new());
        for (_, kernel) in kernels.kernels.iter() {
            match Compiled::new(kernel) {
                Ok(c) => compiled.push(c),
                Err(e) => errors.extend(e),
            }
        }
        if !errors.is_empty() {
            return Err(PlanError::Kernels(errors));
        }
        if weights.len() as u64 != plan.weights_bytes {
            return Err(PlanError::Weights { expected: plan.weights_bytes, found: weights.len() as u64 });
        }
        let filled = |bytes: u64, value: u8| -> Option<Vec<u8>> {
            let n = usize::try_from(bytes).ok()?;
            let mut v = Vec::new();
            v.try_reserve_exact(n).ok()?;
            v.resize(n, value);
            Some(v)
        };
        match (filled(plan.arena_bytes, 0xff), filled(plan.kv_bytes, 0)) {
            (Some(arena), Some(kv)) => Ok(Self { plan, kernels: compiled, weights, arena, kv, position: 0, written: 0, subgroup: SUBGROUP_LANES }),
            _ => Err(PlanError::Memory { arena: plan.arena_bytes, kv: plan.kv_bytes }),
        }
    }

    /// The same with subgroups of `lanes` lanes, as another device has them.
    pub fn with_subgroups(mut self, lanes: u32) -> Self {
        self.subgroup = lanes;
        self
    }

    /// Tokens in the cache.
    pub fn position(&self) -> u32 {
        self.position
    }

    /// Goes back to an empty cache.
    pub fn reset(&mut self) {
        self.position = 0;
        self.written = 0;
    }

    /// Forgets the tokens from `position` on.
    pub fn rewind(&mut self, position: u32) -> Result<(), PlanError> {
        let kept = || self.plan.kv.iter().filter_map(|kv| kv.ring).all(|ring| ring.keeps(position, self.written));
        if position > self.position || position != self.position && !kept() {
            return Err(PlanError::Rewind { to: position, position: self.position });
        }
        self.position = position;
        if position == 0 {
            self.written = 0;
        }
        Ok(())
    }

    /// The arena, for comparing dispatch by dispatch.
    pub fn arena(&self) -> &[u8] {
        &self.arena
    }

    /// The KV cache.
    pub fn kv(&self) -> &[u8] {
        &self.kv
    }

    /// Appends tokens in steps of at most `chunk` and gives logits `[rows, vocab]`: of every token, or of the last one only.
    /// Nothing is run if an argument is refused.
    pub fn eval(&mut self, tokens: &[u32], chunk: u32, all_rows: bool) -> Result<Vec<Vec<f32>>, PlanError> {
        let plan = self.plan;
        if chunk == 0 || chunk > plan.chunk {
            return Err(PlanError::Chunk { chunk, most: plan.chunk });
        }
        if tokens.len() as u64 + u64::from(self.position) > u64::from(plan.ctx) {
            return Err(PlanError::Context { tokens: tokens.len(), position: self.position, ctx: plan.ctx });
        }
        if let Some((index, &id)) = tokens.iter().enumerate().find(|(_, id)| **id >= plan.vocab) {
            return Err(PlanError::Token { index, id, vocab: plan.vocab });
        }
        let mut logits = Vec::new();
        let mut left = tokens;
        while !left.is_empty() {
            let (now, later) = left.split_at(left.len().min(chunk as usize));
            left = later;
            self.body(now)?;
            if all_rows {
                self.head(now.len() as u32, 0, now.len() as u32, &mut logits)?;
            } else if left.is_empty() {
                self.head(now.len() as u32, now.len() as u32 - 1, 1, &mut logits)?;
            }
            self.position += now.len() as u32;
        }
        Ok(logits)
    }

    fn body(&mut self, tokens: &[u32]) -> Result<(), PlanError> {
        let plan = self.plan;
        let (list, dispatches) = if tokens.len() == 1 { ("decode", &plan.decode) } else { ("prefill", &plan.prefill) };
        let place = self.place(list, 0, Binding::Arena(plan.tokens))?;
        let bytes = self.arena[place.offset..place.offset + place.bytes].chunks_exact_mut(4);
        if bytes.len() < tokens.len() {
            let what = format!("the buffer of token ids holds {}, the step has {}", bytes.len(), tokens.len());
            return Err(PlanError::Dispatch { list, index: 0, what });
        }
        for (slot, id) in bytes.zip(tokens) {
            slot.copy_from_slice(&id.to_le_bytes());
        }
        let t = tokens.len() as u32;
        self.written = self.written.max(self.position + t);
        self.run(list, dispatches, Step { t, p: self.position, row: 0 })
    }

    /// Logits of `count` rows from `first` on, of a body step of `rows`.
    fn head(&mut self, rows: u32, first: u32, count: u32, logits: &mut Vec<Vec<f32>>) -> Result<(), PlanError> {
        let plan = self.plan;
        let mut row = first;
        while row < first + count {
            let t = (first + count - row).min(plan.head_rows).max(1);
            let (list, dispatches) = if t == 1 { ("head_one", &plan.head_one) } else { ("head_many", &plan.head_many) };
            debug_assert!(row + t <= rows);
            self.run(list, dispatches, Step { t, p: self.position, row })?;
            let place = self.place(list, 0, Binding::Arena(plan.logits))?;
            let (vocab, bytes) = (plan.vocab as usize, &self.arena[place.offset..place.offset + place.bytes]);
            if bytes.len() < vocab * 4 * t as usize {
                let what = format!("the buffer of logits has {} bytes, too few for {t} rows of {vocab}", bytes.len());
                return Err(PlanError::Dispatch { list, index: 0, what });
            }
            for row in bytes.chunks_exact(vocab.max(1) * 4).take(t as usize) {
                logits.push(row.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect());
            }
            row += t;
        }
        Ok(())
    }

    /// The token with the greatest logit of the last row evaluated, as the plan's list `argmax` finds it; `None` if the plan has
    /// none or nothing was evaluated.
    pub fn pick(&mut self) -> Result<Option<u32>, PlanError> {
        let plan = self.plan;
        let (Some(picked), true) = (plan.picked, self.position > 0) else { return Ok(None) };
        self.run("argmax", &plan.argmax, Step { t: 1, p: self.position.min(plan.ctx - 1), row: 0 })?;
        let place = self.place("argmax", 0, Binding::Arena(picked))?;
        let bytes = self.arena[place.offset..].first_chunk::<4>();
        Ok(bytes.map(|b| u32::from_le_bytes(*b)))
    }

    fn place(&self, list: &'static str, index: usize, binding: Binding) -> Result<Place, PlanError> {
        let refuse = |what: String| PlanError::Dispatch { list, index, what };
        let place = place_of(self.plan, binding).ok_or_else(|| refuse(format!("the plan lacks {binding}")))?;
        let (region, size) = match binding {
            Binding::Arena(_) => (ARENA, self.arena.len()),
            Binding::Packed(_) => (WEIGHTS, self.weights.len()),
            Binding::Kv(_) => (KV, self.kv.len()),
        };
        let end = place.0.checked_add(place.1).filter(|end| *end <= size as u64);
        match end {
            Some(_) => Ok(Place { region, offset: place.0 as usize, bytes: place.1 as usize }),
            None => Err(refuse(format!("{binding}, bytes {}..+{}, lies outside its region of {size}", place.0, place.1))),
        }
    }

    /// Runs a list of dispatches for a step.
    pub fn run(&mut self, list: &'static str, dispatches: &[Dispatch], step: Step) -> Result<(), PlanError> {
        for (index, dispatch) in dispatches.iter().enumerate() {
            self.dispatch(list, index, dispatch, step)?;
        }
        Ok(())
    }

    fn dispatch(&mut self, list: &'static str, index: usize, dispatch: &Dispatch, step: Step) -> Result<(), PlanError> {
        let places = dispatch.bindings.iter().map(|b| self.place(list, index, *b)).collect::<Result<Vec<_>, _>>()?;
        let code = self.kernels.get(KernelId::index(dispatch.kernel)).ok_or_else(|| {
            let what = format!("kernel {} does not exist; there are {}", dispatch.kernel, self.kernels.len());
            PlanError::Dispatch { list, index, what }
        })?;
        let mut memory =
            Memory { regions: vec![Region::ReadWrite(&mut self.arena), Region::ReadOnly(self.weights), Region::ReadWrite(&mut self.kv)] };
        let grid = dispatch.grid.map(|e| e.tiles(step.t, step.p));
        Machine::new(code).with_subgroups(self.subgroup).grid(&mut memory, &places, step, grid).map_err(|fault| PlanError::Fault {
            list,
            index,
            fault,
        })
    }
}

/// Regions of [`Memory`].
const ARENA: usize = 0;
const WEIGHTS: usize = 1;
const KV: usize = 2;

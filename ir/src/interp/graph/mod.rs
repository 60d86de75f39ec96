//! Executes graph IR, with the semantics that the ops' docs state. This is the oracle: sums are taken in f64, results
//! rounded to f32 once per node, int8 products summed exactly; no speed is bought with accuracy.
//!
//! State is the KV cache. Weights are read on first use and kept in the format that the graph gives them.

mod attention;
mod elementwise;
mod linear;
mod weights;

use crate::diag::VerifyError;
use crate::graph::verify::verify;
use crate::graph::weight::WeightProvider;
use crate::graph::{DType, Graph, KvPart, NodeId, Op, SegmentKind, ValueId};
use crate::quant::CacheRows;
use std::collections::BTreeMap;
use weights::WeightCache;

/// A value of a step: what a [`Graph`] value holds while a segment runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Tensor {
    /// `u32[T]`.
    Tokens(Vec<u32>),
    /// `f32[T, width]`, row-major.
    Rows {
        /// Columns.
        width: usize,
        /// T · width numbers.
        data: Vec<f32>,
    },
    /// `a8g32[T, width]`.
    Quantized {
        /// Columns, a multiple of 32.
        width: usize,
        /// T · width codes in −127..=127.
        codes: Vec<i8>,
        /// A scale per 32 codes.
        scales: Vec<f32>,
        /// The sum of each 32 codes.
        sums: Vec<i32>,
    },
    /// `[P+T, width]`: all of one part of a KV slot.
    Slot(u32, KvPart),
}

/// Why a graph could not be run.
#[derive(Debug, thiserror::Error)]
pub enum InterpError {
    /// The graph breaks rules; all of them.
    #[error("the graph does not verify: {}", .0.iter().map(|e| e.to_string()).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<VerifyError>),
    /// A weight could not be read.
    #[error("weight {name}: {why}")]
    Weight {
        /// Its name.
        name: String,
        /// In the provider's words.
        why: String,
    },
    /// An input does not have the type that the graph says.
    #[error("input {input}: expected {expected}, found {found}")]
    Input {
        /// The value.
        input: ValueId,
        /// The graph's type.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A token id is not in the vocabulary.
    #[error("token {token} at position {position} of the input: expected an id below {vocab}")]
    Token {
        /// The id.
        token: u32,
        /// Where.
        position: usize,
        /// Rows of the table.
        vocab: usize,
    },
    /// More tokens than the cache holds.
    #[error("context is full: {cached} tokens are cached and {new} more do not fit the {ctx} of the graph; rewind or reset first")]
    Context {
        /// P.
        cached: usize,
        /// T.
        new: usize,
        /// The bound.
        ctx: u32,
    },
    /// Rewinding to a position that was not reached.
    #[error("cannot rewind to position {to}: only {cached} tokens are cached")]
    Rewind {
        /// Asked for.
        to: usize,
        /// P.
        cached: usize,
    },
}

/// A graph, its weights and its KV cache.
pub struct GraphInterp<'a> {
    graph: &'a Graph,
    weights: WeightCache<'a>,
    /// Rows of each part of each slot that was written, rounded to the cache's dtype.
    slots: BTreeMap<(u32, KvPart), Vec<f32>>,
    position: usize,
    watched: BTreeMap<ValueId, Vec<f32>>,
}

impl<'a> GraphInterp<'a> {
    /// Takes a graph that verifies; nothing is read yet.
    pub fn new(graph: &'a Graph, provider: &'a dyn WeightProvider) -> Result<Self, InterpError> {
        verify(graph).map_err(InterpError::Invalid)?;
        Ok(Self { graph, weights: WeightCache::new(graph, provider), slots: BTreeMap::new(), position: 0, watched: BTreeMap::new() })
    }

    /// Appends tokens and gives their hidden states, row-major `[T, D]`. More tokens than a chunk are taken in several
    /// steps. On an error the cache is as before.
    pub fn body(&mut self, tokens: &[u32]) -> Result<Vec<f32>, InterpError> {
        let before = self.position;
        self.check_context(tokens.len())?;
        let mut hidden = Vec::new();
        self.clear_watched();
        for chunk in tokens.chunks(self.graph.bounds.chunk as usize) {
            let done = self.position - before;
            match self.step(SegmentKind::Body, vec![Tensor::Tokens(chunk.to_vec())]) {
                Ok(outputs) => hidden.extend(first_rows(outputs)),
                Err(error) => {
                    self.truncate(before);
                    return Err(match error {
                        InterpError::Token { token, position, vocab } => InterpError::Token { token, position: position + done, vocab },
                        other => other,
                    });
                }
            }
        }
        Ok(hidden)
    }

    /// Turns hidden rows `[rows, D]` into logits `[rows, V]`; the cache is left alone.
    pub fn head(&mut self, rows: &[f32]) -> Result<Vec<f32>, InterpError> {
        let width = self.graph.head.inputs.first().and_then(|v| self.graph.values[*v].ty.last()).unwrap_or(1) as usize;
        self.clear_watched();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        self.step(SegmentKind::Head, vec![Tensor::Rows { width, data: rows.to_vec() }]).map(first_rows)
    }

    /// Runs a segment once on any inputs and gives its outputs; in the body, T more positions are cached afterwards.
    pub fn run(&mut self, which: SegmentKind, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, InterpError> {
        let before = self.position;
        self.clear_watched();
        self.step(which, inputs).inspect_err(|_| self.truncate(before))
    }

    /// Tokens in the cache.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Forgets all tokens.
    pub fn reset(&mut self) {
        self.truncate(0);
    }

    /// Forgets the tokens from position `to` on.
    pub fn rewind(&mut self, to: usize) -> Result<(), InterpError> {
        if to > self.position {
            return Err(InterpError::Rewind { to, cached: self.position });
        }
        self.truncate(to);
        Ok(())
    }

    /// Keeps these values in every later run, for [`watched`](Self::watched). Replaces what was watched before.
    pub fn watch(&mut self, values: &[ValueId]) {
        self.watched = values.iter().map(|&v| (v, Vec::new())).collect();
    }

    /// The rows of a watched value in the last call of [`body`](Self::body), [`head`](Self::head) or [`run`](Self::run),
    /// `[T, K]`; of an a8g32 value, what its codes stand for. Empty if the value was not computed there.
    pub fn watched(&self, value: ValueId) -> &[f32] {
        self.watched.get(&value).map_or(&[], |rows| rows)
    }

    fn check_context(&self, new: usize) -> Result<(), InterpError> {
        let ctx = self.graph.bounds.ctx;
        if new > (ctx as usize).saturating_sub(self.position) {
            return Err(InterpError::Context { cached: self.position, new, ctx });
        }
        Ok(())
    }

    fn clear_watched(&mut self) {
        self.watched.values_mut().for_each(Vec::clear);
    }

    fn truncate(&mut self, to: usize) {
        self.position = to;
        for node in self.graph.nodes.iter().map(|(_, n)| n) {
            if let Op::KvAppend(a) = &node.op
                && let Some(width) = self.graph.values[node.output].ty.last()
                && let Some(rows) = self.slots.get_mut(&(a.slot, a.part))
            {
                rows.truncate(to * width as usize);
            }
        }
    }

    fn step(&mut self, which: SegmentKind, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, InterpError> {
        let graph = self.graph;
        let segment = graph.segment(which);
        let rows = self.check_inputs(which, &inputs)?;
        let body = which == SegmentKind::Body;
        if body {
            self.check_context(rows)?;
        }
        let mut last_use: BTreeMap<ValueId, NodeId> = BTreeMap::new();
        for &n in &segment.order {
            last_use.extend(graph.nodes[n].inputs.iter().map(|&v| (v, n)));
        }
        let mut values: BTreeMap<ValueId, Tensor> = segment.inputs.iter().copied().zip(inputs).collect();
        for (&v, tensor) in &values {
            note(&mut self.watched, v, tensor);
        }
        for &n in &segment.order {
            let node = &graph.nodes[n];
            let result = self.node(n, &values)?;
            note(&mut self.watched, node.output, &result);
            values.insert(node.output, result);
            for v in &node.inputs {
                if last_use.get(v) == Some(&n) && !segment.outputs.contains(v) {
                    values.remove(v);
                }
            }
        }
        if body {
            self.position += rows;
        }
        Ok(segment.outputs.iter().map(|v| values[v].clone()).collect())
    }

    /// Checks inputs against the segment's and gives T.
    fn check_inputs(&self, which: SegmentKind, inputs: &[Tensor]) -> Result<usize, InterpError> {
        let segment = self.graph.segment(which);
        let mut rows = None;
        for (i, &v) in segment.inputs.iter().enumerate() {
            let ty = &self.graph.values[v].ty;
            let (count, found) = match inputs.get(i) {
                None => (None, "nothing".to_string()),
                Some(Tensor::Tokens(tokens)) => ((ty.dtype == DType::U32).then_some(tokens.len()), format!("{} token ids", tokens.len())),
                Some(Tensor::Rows { width, data }) => {
                    let fits = ty.dtype == DType::F32 && ty.last() == u32::try_from(*width).ok() && *width > 0 && data.len() % width == 0;
                    (fits.then(|| data.len() / width), format!("{} numbers in rows of {width}", data.len()))
                }
                Some(_) => (None, "a value that only nodes make".to_string()),
            };
            let count = count.filter(|&c| c > 0 && rows.is_none_or(|r| r == c));
            let error = || InterpError::Input { input: v, expected: format!("{ty} with T >= 1, the same for all inputs"), found };
            rows = Some(count.ok_or_else(error)?);
        }
        Ok(rows.unwrap_or(0))
    }

    fn node(&mut self, id: NodeId, values: &BTreeMap<ValueId, Tensor>) -> Result<Tensor, InterpError> {
        let graph = self.graph;
        let node = &graph.nodes[id];
        let operand = |i: usize| &values[&node.inputs[i]];
        let width = graph.values[node.output].ty.last().unwrap_or(1) as usize;
        let rows = |data| Tensor::Rows { width, data };
        Ok(match &node.op {
            Op::Embed => {
                let Tensor::Tokens(tokens) = operand(0) else { unreachable_type() };
                rows(self.weights.get(node.weights[0])?.embed(tokens)?)
            }
            Op::Linear => {
                let bias = match node.weights.get(1) {
                    Some(&w) => Some(self.weights.get(w)?.row(0)),
                    None => None,
                };
                rows(linear::linear(operand(0), self.weights.get(node.weights[0])?, bias.as_deref()))
            }
            Op::RmsNorm(a) => {
                let weight = self.weights.get(node.weights[0])?.row(0);
                rows(elementwise::rms_norm(data(operand(0)), &weight, a))
            }
            Op::LayerNorm { eps } => {
                let weight = self.weights.get(node.weights[0])?.row(0);
                let bias = match node.weights.get(1) {
                    Some(&w) => Some(self.weights.get(w)?.row(0)),
                    None => None,
                };
                rows(elementwise::layer_norm(data(operand(0)), &weight, bias.as_deref(), *eps))
            }
            Op::Rope(a) => rows(elementwise::rope(data(operand(0)), width, self.position, a)),
            Op::KvAppend(a) => {
                let mut new = data(operand(0)).to_vec();
                let division = CacheRows::of(graph, node);
                for row in new.chunks_mut(width) {
                    division.round(graph.values[node.output].ty.dtype, row);
                }
                let part = self.slots.entry((a.slot, a.part)).or_default();
                part.truncate(self.position * width);
                part.extend(new);
                Tensor::Slot(a.slot, a.part)
            }
            Op::Attention(a) => {
                let part = |i: usize| match operand(i) {
                    Tensor::Slot(slot, part) => &self.slots[&(*slot, *part)],
                    _ => unreachable_type(),
                };
                rows(attention::attention(data(operand(0)), part(1), part(2), self.position, a))
            }
            Op::Silu => rows(elementwise::map(data(operand(0)), |x| x / (1.0 + (-x).exp()))),
            Op::GeluTanh => rows(elementwise::map(data(operand(0)), elementwise::gelu_tanh)),
            Op::Mul => rows(elementwise::zip(data(operand(0)), data(operand(1)), |a, b| a * b)),
            Op::Add => rows(elementwise::zip(data(operand(0)), data(operand(1)), |a, b| a + b)),
            Op::Scale { factor } => rows(elementwise::map(data(operand(0)), |x| x * f64::from(*factor))),
            Op::Softcap { cap } => rows(elementwise::map(data(operand(0)), |x| f64::from(*cap) * (x / f64::from(*cap)).tanh())),
            Op::QuantizeAct => elementwise::quantize(data(operand(0)), width),
        })
    }
}

/// The verifier proved the operand's type.
fn unreachable_type() -> ! {
    unreachable!("invariant: operand types were verified")
}

fn data(tensor: &Tensor) -> &[f32] {
    match tensor {
        Tensor::Rows { data, .. } => data,
        _ => unreachable_type(),
    }
}

fn first_rows(outputs: Vec<Tensor>) -> Vec<f32> {
    match outputs.into_iter().next() {
        Some(Tensor::Rows { data, .. }) => data,
        _ => Vec::new(),
    }
}

fn note(watched: &mut BTreeMap<ValueId, Vec<f32>>, v: ValueId, tensor: &Tensor) {
    let Some(rows) = watched.get_mut(&v) else { return };
    match tensor {
        Tensor::Rows { data, .. } => rows.extend(data),
        Tensor::Quantized { codes, scales, .. } => rows.extend(codes.iter().enumerate().map(|(i, &c)| f32::from(c) * scales[i / 32])),
        Tensor::Tokens(_) | Tensor::Slot(..) => {}
    }
}

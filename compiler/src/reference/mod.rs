//! The reference executor: graph IR on burn tensors, the whole sequence in one pass.
//!
//! It shares no numeric code with the interpreter of `slmc-ir`: kernels, activation quantizer, rotary tables and attention
//! are burn operations or are written here again, so that an agreement of the two means something. What it takes
//! from there is what a weight and a cached row *are*: the values that the stored format represents ([`slmc_ir::quant::round_row`],
//! [`slmc_ir::quant::CacheRows::round`]).
//!
//! There is no cache: P is 0 and T is the whole sequence. Chunks and cached positions are for others to get right.
//!
//! No burn type appears in this module's public interface.

mod attention;
mod ops;
mod rope;
mod weights;

use std::collections::BTreeMap;

use burn_tensor::{Device, Tensor};
use slmc_ir::diag::VerifyError;
use slmc_ir::graph::verify::verify;
use slmc_ir::graph::weight::WeightProvider;
use slmc_ir::graph::{DType, Graph, Node, Op, SegmentKind, ValueId};
use slmc_ir::quant::CacheRows;

use crate::streams::{Stream, residual_streams};
use weights::Loaded;

/// A graph with its weights in memory, ready to run.
pub struct Reference {
    graph: Graph,
    weights: Loaded,
    streams: Vec<Stream>,
    vocab: usize,
    device: Device,
}

/// What a pass over a sequence of T tokens gives.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferenceOutput {
    /// `[T, V]`, row-major.
    pub logits: Vec<f32>,
    /// The residual stream at the places of [`residual_streams`], in order, with their names: `[T, D]` each, row-major.
    pub streams: Vec<(String, Vec<f32>)>,
}

/// Why the reference could not run.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The graph breaks rules; all of them.
    #[error("the graph does not verify: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<VerifyError>),
    /// The graph is no language model as a sequence runner needs it.
    #[error("the graph cannot be run over a sequence: {}", .0.join("; "))]
    Shape(Vec<String>),
    /// Weights could not be read; all of them.
    #[error("{}", .0.join("\n"))]
    Weights(Vec<String>),
    /// There is nothing to compute.
    #[error("no tokens: the reference needs at least one")]
    Empty,
    /// Ids outside the vocabulary.
    #[error("token {token} at position {position}: expected an id below {vocab}")]
    Token {
        /// The first such id.
        token: u32,
        /// Where it is.
        position: usize,
        /// Rows of the embedding.
        vocab: usize,
    },
    /// More tokens than the graph's context.
    #[error("{tokens} tokens do not fit the context of {ctx}; give fewer tokens, or import with a longer context")]
    Context {
        /// Tokens asked for, generated ones included.
        tokens: usize,
        /// The bound.
        ctx: u32,
    },
    /// The tensor library refused.
    #[error("burn: {0}")]
    Backend(String),
}

impl Reference {
    /// Verifies the graph and reads all its weights, as f32: four bytes of memory a weight, whatever its format.
    pub fn new(graph: &Graph, provider: &dyn WeightProvider) -> Result<Self, ReferenceError> {
        verify(graph).map_err(ReferenceError::Invalid)?;
        let vocab = check_ends(graph)?;
        let device = Device::flex();
        let weights = Loaded::read(graph, provider, &device).map_err(ReferenceError::Weights)?;
        Ok(Self { graph: graph.clone(), weights, streams: residual_streams(graph), vocab, device })
    }

    /// Columns of the logits, V.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// Logits of every position, and the residual stream on the way.
    pub fn forward(&self, tokens: &[u32]) -> Result<ReferenceOutput, ReferenceError> {
        let watched: Vec<ValueId> = self.streams.iter().map(|s| s.value).collect();
        let (hidden, kept) = self.body(tokens, &watched)?;
        let logits = numbers(self.head(hidden))?;
        let mut streams = Vec::new();
        for (stream, rows) in self.streams.iter().zip(kept) {
            streams.push((stream.name.clone(), numbers(rows)?));
        }
        Ok(ReferenceOutput { logits, streams })
    }

    /// The `n` tokens that follow `tokens` when the likeliest is taken each time; of equal ones the lowest id.
    /// The sequence is computed anew for each token.
    pub fn greedy(&self, tokens: &[u32], n: usize) -> Result<Vec<u32>, ReferenceError> {
        // The last token is only given, never read back.
        self.check_context(tokens.len() + n.saturating_sub(1))?;
        let mut all = tokens.to_vec();
        for _ in 0..n {
            let (hidden, _) = self.body(&all, &[])?;
            let logits = numbers(self.head(hidden.narrow(0, all.len() - 1, 1)))?;
            all.push(crate::compare::top(&logits));
        }
        Ok(all.split_off(tokens.len()))
    }

    fn check_context(&self, tokens: usize) -> Result<(), ReferenceError> {
        let ctx = self.graph.bounds.ctx;
        if tokens > ctx as usize { Err(ReferenceError::Context { tokens, ctx }) } else { Ok(()) }
    }

    /// Hidden states `[T, D]`, and the watched values.
    fn body(&self, tokens: &[u32], watched: &[ValueId]) -> Result<(Tensor<2>, Vec<Tensor<2>>), ReferenceError> {
        if tokens.is_empty() {
            return Err(ReferenceError::Empty);
        }
        self.check_context(tokens.len())?;
        for node in self.graph.body.order.iter().map(|&n| &self.graph.nodes[n]).filter(|n| n.op == Op::Embed) {
            let vocab = self.weights.matrix(node.weights[0]).dims()[0];
            if let Some(position) = tokens.iter().position(|&t| t as usize >= vocab) {
                return Err(ReferenceError::Token { token: tokens[position], position, vocab });
            }
        }
        let (hidden, mut kept) = self.segment(SegmentKind::Body, Input::Tokens(tokens), watched);
        let streams = watched.iter().map(|v| kept.remove(v).expect("invariant: streams are values of the body")).collect();
        Ok((hidden, streams))
    }

    fn head(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.segment(SegmentKind::Head, Input::Rows(hidden), &[]).0
    }

    /// Runs a segment; gives its output and the watched values. A value is dropped after its last use.
    fn segment(&self, which: SegmentKind, input: Input<'_>, watched: &[ValueId]) -> (Tensor<2>, BTreeMap<ValueId, Tensor<2>>) {
        let segment = self.graph.segment(which);
        let mut readers: BTreeMap<ValueId, usize> = BTreeMap::new();
        for v in segment.order.iter().flat_map(|&n| &self.graph.nodes[n].inputs).chain(&segment.outputs).chain(watched) {
            *readers.entry(*v).or_insert(0) += 1;
        }
        let mut values = BTreeMap::new();
        let tokens = match input {
            Input::Tokens(tokens) => tokens,
            Input::Rows(rows) => {
                values.insert(segment.inputs[0], rows);
                &[]
            }
        };
        for &n in &segment.order {
            let node = &self.graph.nodes[n];
            let result = self.node(node, tokens, &values);
            values.insert(node.output, result);
            for v in &node.inputs {
                let left = readers.get_mut(v).expect("invariant: operands were counted");
                *left -= 1;
                if *left == 0 {
                    values.remove(v);
                }
            }
        }
        (values[&segment.outputs[0]].clone(), values)
    }

    fn node(&self, node: &Node, tokens: &[u32], values: &BTreeMap<ValueId, Tensor<2>>) -> Tensor<2> {
        let x = |i: usize| values[&node.inputs[i]].clone();
        let matrix = |i: usize| self.weights.matrix(node.weights[i]);
        let vector = |i: usize| self.weights.vector(node.weights[i]);
        match &node.op {
            Op::Embed => ops::embed(tokens, matrix(0), &self.device),
            Op::Linear => ops::linear(x(0), matrix(0), (node.weights.len() > 1).then(|| vector(1))),
            Op::RmsNorm(a) => ops::rms_norm(x(0), vector(0), a),
            Op::LayerNorm { eps } => ops::layer_norm(x(0), vector(0), (node.weights.len() > 1).then(|| vector(1)), *eps),
            Op::Rope(a) => rope::rope(x(0), a),
            Op::KvAppend(_) => ops::cached(x(0), CacheRows::of(&self.graph, node), self.graph.values[node.output].ty.dtype, &self.device),
            Op::Attention(a) => attention::attention(x(0), x(1), x(2), a),
            Op::Silu => ops::silu(x(0)),
            Op::GeluTanh => ops::gelu_tanh(x(0)),
            Op::Mul => x(0) * x(1),
            Op::Add => x(0) + x(1),
            Op::Scale { factor } => x(0) * *factor,
            Op::Softcap { cap } => ops::softcap(x(0), *cap),
            Op::QuantizeAct => ops::quantized_act(x(0)),
        }
    }
}

#[allow(clippy::large_enum_variant, reason = "one value, made and taken apart within a call")]
enum Input<'a> {
    Tokens(&'a [u32]),
    Rows(Tensor<2>),
}

/// Checks that the body goes from tokens to hidden rows and the head from those to logits; gives V.
fn check_ends(graph: &Graph) -> Result<usize, ReferenceError> {
    let mut faults = Vec::new();
    let mut end = |which: SegmentKind, dtype: DType| {
        let segment = graph.segment(which);
        let name = if which == SegmentKind::Body { "body" } else { "head" };
        let (inputs, outputs) = (segment.inputs.as_slice(), segment.outputs.as_slice());
        let (&[input], &[output]) = (inputs, outputs) else {
            faults.push(format!("the {name} has {} inputs and {} outputs, expected one of each", inputs.len(), outputs.len()));
            return None;
        };
        if graph.values[input].ty.dtype != dtype {
            faults.push(format!("the {name}'s input {input} is {}, expected {dtype}", graph.values[input].ty));
        }
        let ty = &graph.values[output].ty;
        if ty.dtype != DType::F32 {
            faults.push(format!("the {name}'s output {output} is {ty}, expected f32"));
        }
        Some((graph.values[input].ty.last(), ty.last()))
    };
    let (body, head) = (end(SegmentKind::Body, DType::U32), end(SegmentKind::Head, DType::F32));
    if let (Some((_, hidden)), Some((states, _))) = (body, head)
        && hidden != states
    {
        faults.push(format!("the body gives rows of {}, the head takes rows of {}", hidden.unwrap_or(0), states.unwrap_or(0)));
    }
    match head {
        Some((_, Some(vocab))) if faults.is_empty() => Ok(vocab as usize),
        _ => Err(ReferenceError::Shape(faults)),
    }
}

fn numbers(tensor: Tensor<2>) -> Result<Vec<f32>, ReferenceError> {
    tensor.try_into_vec_as::<f32>().map_err(|e| ReferenceError::Backend(e.to_string()))
}

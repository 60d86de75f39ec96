//! The graph IR: SSA over tensors.
//!
//! A graph has two segments. The **body** turns token ids `u32[T]` into hidden states after the final norm; the **head**
//! turns hidden rows into logits and is run on a few rows at a time (there `T` is the number of those rows). One graph
//! serves prefill and decode: `T` (tokens in this step, `1..=chunk`) and `P` (tokens already in the cache,
//! `P + T <= ctx`) are symbolic.
//!
//! Every node has exactly one result. Weights live outside the graph and are named by [`WeightId`]; a quantized weight is a
//! dtype, so a quantized `linear` type-checks like any other. Fusion does not change nodes: it partitions each segment
//! into [`Group`]s, and lowering makes the kernels of a group.

pub(crate) mod attrs;
pub mod op;
mod parse;
mod print;
mod renumber;
pub mod shape;
pub mod ty;
pub mod verify;
pub mod weight;

use crate::arena::Arena;
use crate::define_id;

pub use op::{AttentionAttrs, KvAppendAttrs, KvPart, NormAttrs, Op, RopeAttrs, RopeScaling, paired_dim};
pub use ty::{DType, Dim, TensorType};
pub use weight::{Weight, WeightSource};

define_id!(
    /// A tensor value: an input of a segment or the result of a node.
    ValueId, "v"
);
define_id!(
    /// A node. Ids are not order: the order of execution is [`Segment::order`].
    NodeId, "n"
);
define_id!(
    /// A weight of the model.
    WeightId, "w"
);

/// A whole model in graph form.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// The model's name, an identifier in the text form (`@name`).
    pub name: String,
    /// Bounds of the symbolic dims.
    pub bounds: Bounds,
    /// Number of KV slots (one per layer that is run).
    pub kv_slots: u32,
    /// The weights that nodes name.
    pub weights: Arena<WeightId, Weight>,
    /// All values of both segments.
    pub values: Arena<ValueId, Value>,
    /// All nodes of both segments.
    pub nodes: Arena<NodeId, Node>,
    /// Tokens → hidden states.
    pub body: Segment,
    /// Hidden rows → logits.
    pub head: Segment,
}

/// What the symbolic dims can be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most tokens in one step: `1 <= T <= chunk`.
    pub chunk: u32,
    /// Most tokens in the cache after a step: `P + T <= ctx`.
    pub ctx: u32,
}

/// A straight-line part of a graph.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Segment {
    /// The values that come from outside.
    pub inputs: Vec<ValueId>,
    /// The nodes in order of execution.
    pub order: Vec<NodeId>,
    /// The values that go outside.
    pub outputs: Vec<ValueId>,
    /// A partition of `order` into runs that become one kernel launch each, in order; empty before fusion.
    pub groups: Vec<Group>,
}

/// Consecutive nodes of a segment that lowering turns into one launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What the group computes.
    pub kind: GroupKind,
    /// Its nodes, in order of execution.
    pub nodes: Vec<NodeId>,
}

/// The shapes of groups that fusion makes and lowering knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKind {
    /// `embed`, then optionally `scale`, `rms_norm`, `quantize_act`.
    Embed,
    /// The `linear`s of q, k and v of one layer with the norms per head, `rope`s and `kv_append`s that follow.
    Qkv,
    /// `attention`, then optionally `quantize_act`.
    Attention,
    /// A `linear` and `add` (residual), then optionally `rms_norm`, `quantize_act`.
    LinearResidual,
    /// The gate and up `linear`s, the activation, `mul`, then optionally `quantize_act`.
    GatedLinear,
    /// A `linear`, then optionally `softcap`.
    Linear,
    /// `rms_norm` or `layer_norm` of whole rows, or `rms_norm` and `add` (residual) before it; then optionally `quantize_act`.
    Norm,
    /// Any other single node.
    Single,
}

/// An SSA value.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Its type.
    pub ty: TensorType,
    /// Where it comes from.
    pub def: Def,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Def {
    /// An input of the body or the head.
    Input,
    /// The result of a node.
    Node(NodeId),
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it computes, with its attributes.
    pub op: Op,
    /// Tensor operands.
    pub inputs: Vec<ValueId>,
    /// Weight operands, after the tensor operands in the text form.
    pub weights: Vec<WeightId>,
    /// Its result.
    pub output: ValueId,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: impl Into<String>, bounds: Bounds) -> Self {
        Self {
            name: name.into(),
            bounds,
            kv_slots: 0,
            weights: Arena::new(),
            values: Arena::new(),
            nodes: Arena::new(),
            body: Segment::default(),
            head: Segment::default(),
        }
    }

    /// Adds an input of type `ty` to a segment.
    pub fn add_input(&mut self, which: SegmentKind, ty: TensorType) -> ValueId {
        let v = self.values.push(Value { ty, def: Def::Input });
        self.segment_mut(which).inputs.push(v);
        v
    }

    /// Appends a node to a segment. The result's type is given; the verifier checks it against the op.
    pub fn add_node(&mut self, which: SegmentKind, op: Op, inputs: &[ValueId], weights: &[WeightId], ty: TensorType) -> ValueId {
        let node = self.nodes.next_id();
        let output = self.values.push(Value { ty, def: Def::Node(node) });
        self.nodes.push(Node { op, inputs: inputs.to_vec(), weights: weights.to_vec(), output });
        self.segment_mut(which).order.push(node);
        output
    }

    /// A segment by name.
    pub fn segment(&self, which: SegmentKind) -> &Segment {
        match which {
            SegmentKind::Body => &self.body,
            SegmentKind::Head => &self.head,
        }
    }

    /// A segment by name, mutably.
    pub fn segment_mut(&mut self, which: SegmentKind) -> &mut Segment {
        match which {
            SegmentKind::Body => &mut self.body,
            SegmentKind::Head => &mut self.head,
        }
    }

    /// The node that defines `v`, unless `v` is an input.
    pub fn def(&self, v: ValueId) -> Option<&Node> {
        match self.values[v].def {
            Def::Input => None,
            Def::Node(n) => Some(&self.nodes[n]),
        }
    }
}

/// Names one of the two segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentKind {
    /// Tokens → hidden states.
    Body,
    /// Hidden rows → logits.
    Head,
}

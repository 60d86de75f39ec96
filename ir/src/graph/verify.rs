//! The verifier of the graph IR. It reports every fault it finds and never panics, whatever the ids say.
//!
//! | rule | what it demands |
//! |---|---|
//! | `id-range` | every id in nodes, segments and groups leads to an entity |
//! | `definition` | a segment's input is a value of `Def::Input`; a node's output is a value whose definition is that node |
//! | `once` | each node stands in exactly one segment, once; each input in one list of inputs, once |
//! | `order` | operands and outputs are defined in the same segment, operands before their use |
//! | `arity` | numbers of tensor operands and weights are those of the op table |
//! | `operand` | operand and weight types fit the op ([`infer`]) |
//! | `result-type` | the result type is the inferred one; a `kv_append` may store f16 |
//! | `attribute` | eps finite and ≥ 0; counts ≥ 1; rotary_dim even and ≤ head_dim; kv_heads divides heads; factors, caps and bases finite and > 0 ([`check_attributes`]) |
//! | `kv-slot` | slots are in range, in the body, written once per part; `attention` reads k and v of one slot |
//! | `weight` | 1 or 2 constant dims ≥ 1; a quantized weight has 2 and its group divides K; no u32, no a8g32; rows of a tensor are as many as the first dim |
//! | `bounds` | 1 ≤ chunk ≤ ctx |
//! | `interface` | the body takes `u32[T]` or `f32[T,K]`; a head takes the body's one output and gives `f32[T,V]` |
//! | `group` | groups are absent, or a partition of the order into runs of at least one node |

use super::op::{KvPart, Op, RopeScaling};
use super::shape::{check_arity, infer, is_kv_dtype};
use super::{DType, Def, Dim, Graph, Node, NodeId, Segment, SegmentKind, TensorType, ValueId, WeightSource};
use crate::arena::Id;
use crate::diag::{Verified, VerifyError};
use std::collections::BTreeMap;

/// Proves that a graph obeys the rules above, or lists every fault.
pub fn verify(graph: &Graph) -> Result<Verified<'_, Graph>, Vec<VerifyError>> {
    let mut v = Verifier { graph, errors: Vec::new(), home: vec![None; graph.values.len()], place: vec![0; graph.nodes.len()] };
    v.bounds();
    v.weights();
    for (name, segment) in v.segments() {
        v.definitions(name, segment);
    }
    for (id, node) in graph.nodes.iter() {
        if v.place[id.index()] == 0 {
            v.fault(node.output, "once", format!("{} stands in no segment; drop it by renumbering", node.op.info().name));
        }
    }
    for (name, segment) in v.segments() {
        v.segment(name, segment);
    }
    v.kv_slots();
    v.interface();
    if v.errors.is_empty() { Ok(Verified::new(graph)) } else { Err(v.errors) }
}

/// Faults in the attributes of an op, whatever its operands are.
pub fn check_attributes(op: &Op) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |good: bool, text: String| {
        if !good {
            faults.push(text);
        }
    };
    match op {
        Op::RmsNorm(a) => {
            check(a.eps.is_finite() && a.eps >= 0.0, format!("eps = {}, expected a finite number ≥ 0", a.eps));
            check(a.heads >= 1, "heads = 0, expected at least 1".into());
        }
        Op::LayerNorm { eps } => check(eps.is_finite() && *eps >= 0.0, format!("eps = {eps}, expected a finite number ≥ 0")),
        Op::Rope(a) => {
            check(a.heads >= 1, "heads = 0, expected at least 1".into());
            check(a.head_dim >= 1, "head_dim = 0, expected at least 1".into());
            let rotary = a.rotary_dim;
            check(rotary >= 2 && rotary.is_multiple_of(2), format!("rotary_dim = {rotary}, expected an even number ≥ 2"));
            check(rotary <= a.head_dim, format!("rotary_dim = {rotary}, expected at most head_dim = {}", a.head_dim));
            check(positive(a.theta), format!("theta = {}, expected a finite number > 0", a.theta));
            match a.scaling {
                RopeScaling::Default => {}
                RopeScaling::PerPair { magnitude, ref divisors } => {
                    check(positive(magnitude), format!("magnitude = {magnitude}, expected a finite number > 0"));
                    let pairs = rotary as usize / 2;
                    check(divisors.len() == pairs, format!("{} divisors, expected rotary_dim / 2 = {pairs}", divisors.len()));
                    check(divisors.iter().copied().all(positive), "divisors: expected finite numbers > 0".into());
                }
                RopeScaling::Linear { factor } => check(positive(factor), format!("factor = {factor}, expected a finite number > 0")),
                RopeScaling::Llama3 { factor, low, high, original } => {
                    check(positive(factor), format!("factor = {factor}, expected a finite number > 0"));
                    check(positive(low) && positive(high) && low < high, format!("low = {low}, high = {high}, expected 0 < low < high"));
                    check(original >= 1, "original = 0, expected at least 1".into());
                }
            }
        }
        Op::Attention(a) => {
            check(a.heads >= 1 && a.kv_heads >= 1, format!("heads = {}, kv_heads = {}, expected at least 1", a.heads, a.kv_heads));
            check(a.kv_heads == 0 || a.heads.is_multiple_of(a.kv_heads), format!("kv_heads = {} does not divide heads = {}", a.kv_heads, a.heads));
            check(a.head_dim >= 1, "head_dim = 0, expected at least 1".into());
            check(a.scale.is_finite(), format!("scale = {}, expected a finite number", a.scale));
            check(a.window != Some(0), "window = 0, expected at least 1".into());
            check(a.softcap.is_none_or(positive), "softcap: expected a finite number > 0".into());
        }
        Op::Scale { factor } => check(factor.is_finite(), format!("factor = {factor}, expected a finite number")),
        Op::Softcap { cap } => check(positive(*cap), format!("cap = {cap}, expected a finite number > 0")),
        Op::Embed | Op::Linear | Op::KvAppend(_) | Op::Silu | Op::GeluTanh | Op::Mul | Op::Add | Op::QuantizeAct => {}
    }
    faults
}

fn positive(x: f32) -> bool {
    x.is_finite() && x > 0.0
}

struct Verifier<'a> {
    graph: &'a Graph,
    errors: Vec<VerifyError>,
    /// The segment that defines each value.
    home: Vec<Option<&'static str>>,
    /// How often each node stands in a segment.
    place: Vec<u32>,
}

impl<'a> Verifier<'a> {
    fn fault(&mut self, at: impl ToString, rule: &'static str, message: impl Into<String>) {
        self.errors.push(VerifyError { at: at.to_string(), rule, message: message.into() });
    }

    fn segments(&self) -> [(&'static str, &'a Segment); 2] {
        [("body", &self.graph.body), ("head", &self.graph.head)]
    }

    fn bounds(&mut self) {
        let b = self.graph.bounds;
        if b.chunk == 0 || b.chunk > b.ctx {
            self.fault("graph", "bounds", format!("chunk = {}, ctx = {}, expected 1 ≤ chunk ≤ ctx", b.chunk, b.ctx));
        }
    }

    fn weights(&mut self) {
        for (id, weight) in self.graph.weights.iter() {
            let ty = &weight.ty;
            let at = format!("{id} \"{}\"", weight.name);
            let shape = ty.const_shape().filter(|s| (1..=2).contains(&s.len()) && !s.contains(&0));
            let Some(shape) = shape else {
                self.fault(at, "weight", format!("type is {ty}, expected 1 or 2 constant dims of at least 1"));
                continue;
            };
            if let WeightSource::Tensor { rows: Some(rows), .. } = &weight.source
                && rows.end.checked_sub(rows.start) != shape.first().copied()
            {
                let what = format!("rows {}..{} of the tensor, expected {} of them as in {ty}", rows.start, rows.end, shape[0]);
                self.fault(&at, "weight", what);
            }
            if matches!(ty.dtype, DType::U32 | DType::A8) {
                self.fault(at, "weight", format!("type is {ty}, expected a weight format"));
            } else if let Some(group) = ty.dtype.group()
                && (shape.len() != 2 || shape[1] % group != 0)
            {
                self.fault(at, "weight", format!("type is {ty}, expected [N, K] with K a multiple of {group}"));
            }
        }
    }

    /// Records what a segment defines.
    fn definitions(&mut self, name: &'static str, segment: &Segment) {
        let graph = self.graph;
        for &v in &segment.inputs {
            match graph.values.get(v) {
                None => self.fault(name, "id-range", format!("input {v} does not exist")),
                Some(value) if value.def != Def::Input => self.fault(v, "definition", format!("it is an input of the {name} and a node's result")),
                Some(_) => self.define(v, name),
            }
        }
        for &n in &segment.order {
            let Some(node) = graph.nodes.get(n) else {
                self.fault(name, "id-range", format!("node {n} does not exist"));
                continue;
            };
            self.place[n.index()] += 1;
            if self.place[n.index()] > 1 {
                self.fault(node.output, "once", format!("{} stands twice in the segments", node.op.info().name));
                continue;
            }
            match graph.values.get(node.output) {
                None => self.fault(name, "id-range", format!("output {} of {n} does not exist", node.output)),
                Some(value) if value.def != Def::Node(n) => {
                    self.fault(node.output, "definition", format!("it is the output of {n}, but its definition is {:?}", value.def));
                }
                Some(_) => self.define(node.output, name),
            }
        }
    }

    fn define(&mut self, v: ValueId, name: &'static str) {
        if self.home[v.index()].replace(name).is_some() {
            self.fault(v, "once", "it is defined twice in the segments");
        }
    }

    fn segment(&mut self, name: &'static str, segment: &Segment) {
        let mut ready = vec![false; self.graph.values.len()];
        for v in &segment.inputs {
            if let Some(slot) = ready.get_mut(v.index()) {
                *slot = true;
            }
        }
        for &n in &segment.order {
            let Some(node) = self.graph.nodes.get(n) else { continue };
            for &v in &node.inputs {
                self.use_of(v, &node.output.to_string(), name, &ready);
            }
            self.node(node);
            if let Some(slot) = ready.get_mut(node.output.index()) {
                *slot = true;
            }
        }
        for &v in &segment.outputs {
            self.use_of(v, name, name, &ready);
        }
        self.groups(name, segment);
    }

    fn use_of(&mut self, v: ValueId, at: &str, name: &'static str, ready: &[bool]) {
        match ready.get(v.index()) {
            None => self.fault(at, "id-range", format!("{v} does not exist")),
            Some(true) => {}
            Some(false) => match self.home[v.index()] {
                Some(home) if home == name => self.fault(at, "order", format!("{v} is used before its definition")),
                Some(home) => self.fault(at, "order", format!("{v} belongs to the {home}, not to the {name}")),
                None => self.fault(at, "order", format!("{v} is defined in no segment")),
            },
        }
    }

    fn node(&mut self, node: &Node) {
        let at = node.output;
        let name = node.op.info().name;
        for text in check_attributes(&node.op) {
            self.fault(at, "attribute", format!("{name}: {text}"));
        }
        if let Err(text) = check_arity(&node.op, node.inputs.len(), node.weights.len()) {
            self.fault(at, "arity", text);
            return;
        }
        for w in node.weights.iter().filter(|w| self.graph.weights.get(**w).is_none()) {
            self.fault(at, "id-range", format!("{w} does not exist"));
        }
        let inputs: Option<Vec<&TensorType>> = node.inputs.iter().map(|v| self.graph.values.get(*v).map(|v| &v.ty)).collect();
        let weights: Option<Vec<&TensorType>> = node.weights.iter().map(|w| self.graph.weights.get(*w).map(|w| &w.ty)).collect();
        let (Some(inputs), Some(weights), Some(value)) = (inputs, weights, self.graph.values.get(at)) else { return };
        match infer(&node.op, &inputs, &weights) {
            Err(text) => self.fault(at, "operand", format!("{name}: {text}")),
            Ok(mut expected) => {
                if matches!(node.op, Op::KvAppend(_)) && is_kv_dtype(value.ty.dtype) {
                    expected.dtype = value.ty.dtype;
                }
                if value.ty != expected {
                    self.fault(at, "result-type", format!("{name} gives {expected}, but the type is {}", value.ty));
                }
            }
        }
    }

    fn kv_slots(&mut self) {
        let graph = self.graph;
        let mut written: BTreeMap<(u32, KvPart), ValueId> = BTreeMap::new();
        for (name, segment) in self.segments() {
            for node in segment.order.iter().filter_map(|n| graph.nodes.get(*n)) {
                match &node.op {
                    Op::KvAppend(a) => {
                        if name == "head" {
                            self.fault(node.output, "kv-slot", "kv_append stands in the head, expected in the body");
                        }
                        if a.slot >= graph.kv_slots {
                            self.fault(node.output, "kv-slot", format!("slot = {}, expected below kv_slots = {}", a.slot, graph.kv_slots));
                        }
                        if let Some(first) = written.insert((a.slot, a.part), node.output) {
                            self.fault(node.output, "kv-slot", format!("slot {} part {} is written by {first} already", a.slot, a.part));
                        }
                    }
                    Op::Attention(_) => {
                        let part = |i: usize| match &self.graph.nodes.get(self.def_of(*node.inputs.get(i)?)?)?.op {
                            Op::KvAppend(a) => Some((a.slot, a.part)),
                            _ => None,
                        };
                        if let (Some((k_slot, KvPart::K)), Some((v_slot, KvPart::V))) = (part(1), part(2))
                            && k_slot == v_slot
                        {
                            continue;
                        }
                        self.fault(node.output, "kv-slot", "attention: expected k and v to be the two parts of one slot, from kv_append");
                    }
                    _ => {}
                }
            }
        }
    }

    fn def_of(&self, v: ValueId) -> Option<NodeId> {
        match self.graph.values.get(v)?.def {
            Def::Node(n) => Some(n),
            Def::Input => None,
        }
    }

    fn interface(&mut self) {
        let graph = self.graph;
        for &v in &graph.body.inputs {
            let Some(value) = graph.values.get(v) else { continue };
            let good = match (value.ty.dtype, &value.ty.shape[..]) {
                (DType::U32, [Dim::T]) => true,
                (DType::F32, [Dim::T, Dim::Const(k)]) => *k > 0,
                _ => false,
            };
            if !good {
                self.fault(v, "interface", format!("input of the body is {}, expected u32[T] or f32[T,K]", value.ty));
            }
        }
        let head = graph.segment(SegmentKind::Head);
        if *head == Segment::default() {
            return;
        }
        let types = |ids: &[ValueId]| -> Vec<String> { ids.iter().filter_map(|v| graph.values.get(*v)).map(|v| v.ty.to_string()).collect() };
        let (hidden, rows) = (types(&graph.body.outputs), types(&head.inputs));
        if rows.len() != 1 || hidden != rows {
            let text = format!("the head takes ({}), expected the one output of the body: ({})", rows.join(", "), hidden.join(", "));
            self.fault("head", "interface", text);
        }
        let is_rows =
            |v: &ValueId| graph.values.get(*v).is_none_or(|x| x.ty.dtype == DType::F32 && matches!(x.ty.shape[..], [Dim::T, Dim::Const(_)]));
        if head.outputs.len() != 1 || !head.outputs.iter().all(is_rows) {
            let text = format!("the head returns ({}), expected the logits alone, f32[T,V]", types(&head.outputs).join(", "));
            self.fault("head", "interface", text);
        }
        if let Some(&v) = head.inputs.iter().find(|v| !is_rows(v)) {
            self.fault(v, "interface", "input of the head: expected hidden rows f32[T,D]");
        }
    }

    fn groups(&mut self, name: &'static str, segment: &Segment) {
        if segment.groups.is_empty() {
            return;
        }
        for (i, group) in segment.groups.iter().enumerate() {
            if group.nodes.is_empty() {
                self.fault(name, "group", format!("group {i} ({}) is empty", group.kind.name()));
            }
        }
        let listed: Vec<NodeId> = segment.groups.iter().flat_map(|g| g.nodes.iter().copied()).collect();
        if listed != segment.order {
            let differs = listed.iter().zip(&segment.order).position(|(a, b)| a != b).unwrap_or(listed.len().min(segment.order.len()));
            let name_of = |n: Option<&NodeId>| match n {
                Some(n) => self.graph.nodes.get(*n).map_or(n.to_string(), |node| node.output.to_string()),
                None => "nothing".to_string(),
            };
            let text = format!(
                "groups are not a partition of the nodes in order: node {differs} is {}, the groups have {}",
                name_of(segment.order.get(differs)),
                name_of(listed.get(differs))
            );
            self.fault(name, "group", text);
        }
    }
}

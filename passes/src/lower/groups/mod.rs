//! Groups of the fused graph, whatever the target kind: what each computes, where its operands lie, which weights it packs.

mod attention;
mod embed;
mod gated;
mod logits;
mod pick;
mod project;
mod qkv;
mod residual;

use std::collections::BTreeMap;

use slmc_ir::graph::{Group, GroupKind, Node, NodeId, NormAttrs, Op, SegmentKind, ValueId, WeightId};
use slmc_ir::plan::{ArenaId, Dispatch};

use super::activation::{ActShape, SplitNorm};
use super::context::Lowering;
use super::launch::Phase;

/// How a graph value lies in memory.
#[derive(Debug, Clone)]
enum Repr {
    /// Token ids.
    Tokens,
    /// f32 rows of the residual stream.
    Residual(ArenaId),
    /// Activations that feed a `linear`.
    Act(Vec<ArenaId>, ActShape),
    /// Query rows, heads padded.
    Queries(ArenaId),
    /// A half of a KV slot: index into the plan's.
    Cache(u32),
}

/// The weight of a norm.
#[derive(Debug, Clone, Copy)]
struct NormWeight {
    weight: WeightId,
    /// Added to each element.
    plus: f32,
}

/// The values of a segment that are in memory, and the dispatches so far.
#[derive(Debug)]
struct Run {
    phase: Phase,
    values: BTreeMap<ValueId, Repr>,
    out: Vec<Dispatch>,
}

impl Lowering<'_> {
    /// Lowers the body for a phase.
    pub(super) fn body(&mut self, phase: Phase) -> Vec<Dispatch> {
        let graph = self.graph;
        let values = graph.body.inputs.iter().map(|&v| (v, Repr::Tokens)).collect();
        let mut run = Run { phase, values, out: Vec::new() };
        for group in &graph.body.groups {
            match group.kind {
                GroupKind::Embed => self.embed(group, &mut run),
                GroupKind::Qkv => self.qkv(group, &mut run),
                GroupKind::Attention => self.attention(group, &mut run),
                GroupKind::LinearResidual => self.residual(group, &mut run),
                GroupKind::GatedLinear => self.gated(group, &mut run),
                GroupKind::Linear | GroupKind::Single => {
                    let what = format!("no {} schedule for this node outside a fused group", self.emit.kind());
                    for &n in &group.nodes {
                        self.consequence(n, &what);
                    }
                }
            }
        }
        run.out
    }

    /// Lowers the head for a phase.
    pub(super) fn head(&mut self, phase: Phase) -> Vec<Dispatch> {
        let graph = self.graph;
        let Some((buffers, shape)) = self.boundary.clone() else { return Vec::new() };
        let values = graph.head.inputs.iter().map(|&v| (v, Repr::Act(buffers.clone(), shape))).collect();
        let mut run = Run { phase, values, out: Vec::new() };
        for &n in &graph.head.order {
            let node = &graph.nodes[n];
            match node.op {
                // The body's last kernel has quantized already.
                Op::QuantizeAct if run.values.contains_key(&node.inputs[0]) => {
                    run.values.insert(node.output, Repr::Act(buffers.clone(), shape));
                }
                Op::Linear => self.logits(n, &mut run),
                _ => {
                    let what = format!("no {} schedule for this node in the head", self.emit.kind());
                    self.fault(n, &what);
                }
            }
        }
        run.out
    }

    fn node(&self, n: NodeId) -> &Node {
        &self.graph.nodes[n]
    }

    fn find<'g>(&'g self, group: &'g Group, test: impl Fn(&Op) -> bool + 'g) -> impl Iterator<Item = &'g Node> + 'g {
        group.nodes.iter().map(|&n| self.node(n)).filter(move |n| test(&n.op))
    }

    /// The nodes of the body that use `v`.
    fn users(&self, v: ValueId) -> impl Iterator<Item = NodeId> + '_ {
        self.graph.segment(SegmentKind::Body).order.iter().copied().filter(move |&n| self.graph.nodes[n].inputs.contains(&v))
    }

    /// The quantized result that a group ends with.
    fn quantized(&self, group: &Group) -> Option<ValueId> {
        self.find(group, |op| matches!(op, Op::QuantizeAct)).next().map(|n| n.output)
    }

    /// The activations that a linear reads.
    fn act_of(&mut self, node: NodeId, run: &Run) -> Option<(Vec<ArenaId>, ActShape)> {
        let input = self.graph.nodes[node].inputs[0];
        match run.values.get(&input) {
            Some(Repr::Act(buffers, shape)) => Some((buffers.clone(), *shape)),
            _ => {
                self.consequence(node, "its input is no activation that a fused group wrote");
                None
            }
        }
    }

    /// Whether the head quantizes what the body gives it; then the body's last kernel does.
    fn boundary_quantized(&self) -> bool {
        let head = &self.graph.head;
        head.order.iter().any(|&n| {
            let node = &self.graph.nodes[n];
            matches!(node.op, Op::QuantizeAct) && head.inputs.contains(&node.inputs[0])
        })
    }

    /// The norm and quantization that end a group: gives the activations' arena buffers and shape, and the norm's weight, and
    /// records their value.
    fn normed_output(&mut self, group: &Group, run: &mut Run) -> Option<(Vec<ArenaId>, ActShape, NormWeight)> {
        let last = *group.nodes.last()?;
        let Some((attrs, weight, normed)) = self.find(group, |op| matches!(op, Op::RmsNorm(_))).next().and_then(|n| match n.op {
            Op::RmsNorm(a) => Some((a, n.weights[0], n.output)),
            _ => None,
        }) else {
            self.fault(last, "a residual that no rms_norm follows");
            return None;
        };
        let NormAttrs { eps, heads, unit_offset } = attrs;
        let weight = NormWeight { weight, plus: if unit_offset { 1.0 } else { 0.0 } };
        if heads != 1 {
            self.fault(last, "a norm per head after a residual");
            return None;
        }
        let k = self.graph.values[normed].ty.last()?;
        let quantized = self.quantized(group);
        let is_output = self.graph.body.outputs.iter().any(|&v| v == normed || Some(v) == quantized);
        let quantize = quantized.is_some() || (is_output && self.boundary_quantized());
        if quantized.is_some() && self.users(normed).count() > 1 {
            self.fault(last, "a normed value that is used both quantized and as f32; give its linears one kind of format");
            return None;
        }
        let rows = self.rows(if is_output { Phase::Prefill } else { run.phase });
        let shape = ActShape { quantized: quantize, k, rows, norm: Some(SplitNorm { features: k, eps }) };
        let buffers = match &self.boundary {
            Some((buffers, _)) if is_output => buffers.clone(),
            _ if is_output => {
                let buffers = self.act_buffers("hidden", &shape, true);
                self.boundary = Some((buffers.clone(), shape));
                buffers
            }
            _ => self.act_buffers(&format!("{normed}"), &shape, false),
        };
        run.values.insert(quantized.unwrap_or(normed), Repr::Act(buffers.clone(), shape));
        Some((buffers, shape, weight))
    }
}

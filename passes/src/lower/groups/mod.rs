//! Groups of the fused graph, whatever the target kind: what each computes, where its operands lie, which weights it packs.

mod attention;
mod embed;
mod gated;
mod linear;
mod logits;
mod norm;
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
    /// f32 rows of a product.
    Rows(ArenaId),
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
                GroupKind::Norm => self.norm(group, &mut run),
                GroupKind::Linear if group.nodes.len() == 1 => self.linear(group, &mut run),
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
                // The kernel of the logits has capped them.
                Op::Softcap { .. } if graph.def(node.inputs[0]).is_some_and(|def| def.op == Op::Linear) => {}
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

    /// The weight of a node that is a norm.
    fn norm_weight(&self, norm: NodeId) -> NormWeight {
        let node = self.node(norm);
        let plus = if matches!(node.op, Op::RmsNorm(NormAttrs { unit_offset: true, .. })) { 1.0 } else { 0.0 };
        NormWeight { weight: node.weights[0], plus }
    }

    /// The split norm of a group, if it has one, and the quantization after it: gives the activations' arena buffers and shape,
    /// and the norm's weight, and records their value. `Some(None)` is a group without norm.
    #[allow(clippy::type_complexity, reason = "named at its two calls")]
    fn split_norm_output(&mut self, group: &Group, run: &mut Run) -> Option<Option<(Vec<ArenaId>, ActShape, NormWeight)>> {
        let norm = group.nodes.iter().copied().find_map(|n| match self.node(n).op {
            Op::RmsNorm(attrs) => Some((n, attrs)),
            _ => None,
        });
        let Some((n, NormAttrs { eps, heads, .. })) = norm else { return Some(None) };
        if heads != 1 {
            self.fault(n, "a norm per head after a residual");
            return None;
        }
        let (buffers, shape) = self.norm_output(n, group, Some(eps), run)?;
        Some(Some((buffers, shape, self.norm_weight(n))))
    }

    /// Buffers and shape of the activations that a norm, and the quantization at the end of its group, make; records their value.
    /// With an eps the norm is split: its factor is left to the consumer.
    fn norm_output(&mut self, norm: NodeId, group: &Group, split: Option<f32>, run: &mut Run) -> Option<(Vec<ArenaId>, ActShape)> {
        let normed = self.node(norm).output;
        let k = self.graph.values[normed].ty.last()?;
        let quantized = self.quantized(group);
        let is_output = self.graph.body.outputs.iter().any(|&v| v == normed || Some(v) == quantized);
        let quantize = quantized.is_some() || (is_output && self.boundary_quantized());
        if quantized.is_some() && self.users(normed).count() > 1 {
            self.fault(norm, "a normed value that is used both quantized and as f32; give its linears one kind of format");
            return None;
        }
        let rows = self.rows(if is_output { Phase::Prefill } else { run.phase });
        let shape = ActShape { quantized: quantize, k, rows, norm: split.map(|eps| SplitNorm { features: k, eps }) };
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
        Some((buffers, shape))
    }

    /// The residual rows to which a sum adds `term`, of `node`'s group; the sum lies there afterwards.
    fn add_to_stream(&mut self, node: NodeId, sum: &Node, term: ValueId, run: &mut Run) -> Option<ArenaId> {
        let before = if sum.inputs[0] == term { sum.inputs[1] } else { sum.inputs[0] };
        let Some(Repr::Residual(residual)) = run.values.get(&before).cloned() else {
            self.consequence(node, "its residual is not the stream that the embedding began");
            return None;
        };
        let mut later = self.graph.body.order.iter().skip_while(|&&n| self.graph.nodes[n].output != sum.output).skip(1);
        if later.any(|&n| self.graph.nodes[n].inputs.contains(&before)) {
            self.fault(node, "the residual before the sum is used again after it");
            return None;
        }
        run.values.insert(sum.output, Repr::Residual(residual));
        Some(residual)
    }
}

//! `fuse`: partitions each segment into groups, each of which lowering makes one launch.
//!
//! Nodes are not changed, only put in an order in which every group is consecutive. The kinds, with the order of
//! nodes in a group, on which lowering may rely (`[ ]` optional, `N` a `rms_norm` of whole rows, `L` that or a `layer_norm`, `Q` a
//! `quantize_act`):
//!
//! | kind | nodes |
//! |---|---|
//! | `Embed` | `embed [scale] [N] [Q]` |
//! | `Qkv` | linear q, linear k, linear v, [rms_norm q, rms_norm k,] rope q, rope k, kv_append k, kv_append v |
//! | `Attention` | `attention [Q]` |
//! | `GatedLinear` | `linear gate, linear up, silu or gelu_tanh, mul [Q]` |
//! | `LinearResidual` | `linear add [N] [Q]` |
//! | `Linear` | `linear [softcap]` |
//! | `Norm` | `N add [L] [Q]`, the first of a `linear`'s result, or `L [Q]` |
//! | `Single` | any other node |
//!
//! Values inside a group that only the next node of the group reads never reach memory, so these must have no other use: the
//! results of a `linear` before a norm per head, `rope`, `kv_append`, activation, `mul`, `add` or `softcap`; of a norm per head; of
//! an activation; of the `rope` of k; of the first N of `N add`; of `embed` before `scale`. Results of `add`, `scale`, N, `mul` and `attention` may have other uses (the next residual), so a
//! group may have several results. N and Q that several groups read go with the node that makes their operand.
//!
//! Before:
//! ```text
//! slmir 0
//! graph @example {chunk = 8, ctx = 32, kv_slots = 0} {
//!   w0 = weight "down" f16[32,64] tensor "down"
//!   w1 = weight "norm" f32[32] tensor "norm"
//!   body(v0: f32[T,64], v1: f32[T,32]) {
//!     v2: f32[T,32] = linear v0, w0
//!     v3: f32[T,32] = add v1, v2
//!     v4: f32[T,32] = rms_norm v3, w1 {eps = 0x1p-20, heads = 1}
//!     v5: f32[T,32] = add v3, v4
//!     return v5
//!   }
//! }
//! ```
//! After `fuse`:
//! ```text
//! slmir 0
//! graph @example {chunk = 8, ctx = 32, kv_slots = 0} {
//!   w0 = weight "down" f16[32,64] tensor "down"
//!   w1 = weight "norm" f32[32] tensor "norm"
//!   body(v0: f32[T,64], v1: f32[T,32]) {
//!     v2: f32[T,32] = linear v0, w0
//!     v3: f32[T,32] = add v1, v2
//!     v4: f32[T,32] = rms_norm v3, w1 {eps = 0x1p-20, heads = 1}
//!     v5: f32[T,32] = add v3, v4
//!     return v5
//!     group linear_residual = v2, v3, v4
//!     group single = v5
//!   }
//! }
//! ```

use slmc_ir::arena::Id;
use slmc_ir::graph::{Def, Graph, Group, GroupKind, KvPart, NodeId, NormAttrs, Op, SegmentKind, ValueId};

use crate::analysis::{Dataflow, Uses};
use crate::manager::{Changed, OptionError, Options, Pass, PassCx, PassError, PassInfo};
use crate::rewrite::Rebuild;
use crate::rewrite::rebuild::SEGMENTS;

/// Row of the pass list.
pub static INFO: PassInfo<Graph> = PassInfo { name: "fuse", summary: "partition the nodes into the launches of the plan", options: &[], build };

struct Fuse;

fn build(options: &Options) -> Result<Box<dyn Pass<Graph>>, OptionError> {
    options.reader(INFO.name).finish(Box::new(Fuse))
}

impl Pass<Graph> for Fuse {
    fn info(&self) -> &'static PassInfo<Graph> {
        &INFO
    }

    fn run(&self, g: &mut Graph, _: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let mut rebuild = Rebuild::new(g);
        let mut groups = Vec::new();
        for which in SEGMENTS {
            rebuild.begin(which);
            let mut made = Vec::new();
            for group in ordered(g, which, Grouper::new(g, which).groups())? {
                let nodes = group.nodes.iter().map(|&n| rebuild.copy(which, n)).collect();
                made.push(Group { kind: group.kind, nodes });
            }
            rebuild.end(which);
            groups.push((which, made));
        }
        let mut new = rebuild.finish();
        for (which, groups) in groups {
            new.segment_mut(which).groups = groups;
        }
        let changed = Changed::when(new != *g);
        *g = new;
        Ok(changed)
    }
}

/// The groups in an order that respects the dataflow between them and otherwise follows the segment's.
fn ordered(g: &Graph, which: SegmentKind, groups: Vec<Group>) -> Result<Vec<Group>, PassError> {
    let view = Dataflow::grouped(g, groups.iter().map(|group| group.nodes.as_slice()));
    if let Err(cycle) = petgraph::algo::toposort(&view, None) {
        return Err(PassError::Bug(format!("the group of {} of the {which:?} segment needs its own result", cycle.node_id())));
    }
    let order = view.stable_order().expect("invariant: a view without cycle has an order");
    let mut by_leader: Vec<Option<Group>> = vec![None; g.nodes.len()];
    for group in groups {
        let leader = group.nodes[0].index();
        by_leader[leader] = Some(group);
    }
    Ok(order.into_iter().filter_map(|n| by_leader[n.index()].take()).collect())
}

/// Whether an op norms whole rows.
fn is_row_norm(op: &Op) -> bool {
    matches!(op, Op::LayerNorm { .. } | Op::RmsNorm(NormAttrs { heads: 1, .. }))
}

/// Finds the groups of one segment.
struct Grouper<'g> {
    g: &'g Graph,
    order: &'g [NodeId],
    uses: Uses,
    taken: Vec<bool>,
    groups: Vec<Group>,
}

impl<'g> Grouper<'g> {
    fn new(g: &'g Graph, which: SegmentKind) -> Self {
        Self { g, order: &g.segment(which).order, uses: Uses::of(g, which), taken: vec![false; g.nodes.len()], groups: Vec::new() }
    }

    /// All groups, each node in one, sorted by the place of their first node.
    fn groups(mut self) -> Vec<Group> {
        // The patterns that need several linears come before those that take any.
        let patterns = [Self::embed, Self::qkv, Self::attention, Self::gated, Self::joined, Self::linear, Self::norm, Self::single];
        for pattern in patterns {
            for &n in self.order {
                if !self.taken[n.index()]
                    && let Some(group) = pattern(&self, n)
                {
                    group.nodes.iter().for_each(|n| self.taken[n.index()] = true);
                    self.groups.push(group);
                }
            }
        }
        let mut place = vec![0; self.g.nodes.len()];
        for (i, n) in self.order.iter().enumerate() {
            place[n.index()] = i;
        }
        self.groups.sort_by_key(|group| group.nodes.iter().map(|n| place[n.index()]).min());
        self.groups
    }

    fn embed(&self, n: NodeId) -> Option<Group> {
        if !matches!(self.op(n), Op::Embed) {
            return None;
        }
        let mut nodes = vec![n];
        if let Some(scale) = self.only_reader(n)
            && matches!(self.op(scale), Op::Scale { .. })
        {
            nodes.push(scale);
        }
        self.add_norm(&mut nodes);
        self.add_quantize(&mut nodes);
        Some(Group { kind: GroupKind::Embed, nodes })
    }

    /// Found from the attention: q is a roped linear, k and v are whole slots.
    fn qkv(&self, n: NodeId) -> Option<Group> {
        let Op::Attention(_) = self.op(n) else { return None };
        let [q, k, v] = self.g.nodes[n].inputs[..] else { return None };
        let rope_q = self.def(q, |op| matches!(op, Op::Rope(_)))?;
        let append_k = self.def(k, |op| matches!(op, Op::KvAppend(a) if a.part == KvPart::K))?;
        let append_v = self.def(v, |op| matches!(op, Op::KvAppend(a) if a.part == KvPart::V))?;
        let rope_k = self.inner(append_k, |op| matches!(op, Op::Rope(_)))?;
        let is_linear = |op: &Op| matches!(op, Op::Linear);
        let is_norm = |op: &Op| matches!(op, Op::RmsNorm(_));
        let norms: Vec<NodeId> = [rope_q, rope_k].into_iter().filter_map(|rope| self.inner(rope, is_norm)).collect();
        let (of_q, of_k) = match norms[..] {
            [q, k] => (q, k),
            [] => (rope_q, rope_k),
            _ => return None,
        };
        let linear_q = self.inner(of_q, is_linear)?;
        let linear_k = self.inner(of_k, is_linear)?;
        let linear_v = self.inner(append_v, is_linear)?;
        let x = self.g.nodes[linear_q].inputs[0];
        if [linear_k, linear_v].iter().any(|&l| self.g.nodes[l].inputs[0] != x) {
            return None;
        }
        let mut nodes = vec![linear_q, linear_k, linear_v];
        nodes.extend(norms);
        nodes.extend([rope_q, rope_k, append_k, append_v]);
        Some(Group { kind: GroupKind::Qkv, nodes })
    }

    fn attention(&self, n: NodeId) -> Option<Group> {
        let Op::Attention(_) = self.op(n) else { return None };
        let mut nodes = vec![n];
        self.add_quantize(&mut nodes);
        Some(Group { kind: GroupKind::Attention, nodes })
    }

    /// Found from the product: one factor is an activation of a linear, the other a linear, of the same operand.
    fn gated(&self, n: NodeId) -> Option<Group> {
        let Op::Mul = self.op(n) else { return None };
        let [a, b] = self.g.nodes[n].inputs[..] else { return None };
        let is_linear = |op: &Op| matches!(op, Op::Linear);
        let halves = |act: ValueId, up: ValueId| {
            let act = self.inner_value(act, |op| matches!(op, Op::Silu | Op::GeluTanh))?;
            let gate = self.inner(act, is_linear)?;
            let up = self.inner_value(up, is_linear)?;
            (self.g.nodes[gate].inputs[0] == self.g.nodes[up].inputs[0]).then(|| vec![gate, up, act, n])
        };
        let mut nodes = halves(a, b).or_else(|| halves(b, a))?;
        self.add_quantize(&mut nodes);
        Some(Group { kind: GroupKind::GatedLinear, nodes })
    }

    fn linear(&self, n: NodeId) -> Option<Group> {
        let Op::Linear = self.op(n) else { return None };
        let reader = self.only_reader(n);
        if let Some(add) = reader.filter(|&r| matches!(self.op(r), Op::Add)) {
            let mut nodes = vec![n, add];
            self.add_norm(&mut nodes);
            self.add_quantize(&mut nodes);
            return Some(Group { kind: GroupKind::LinearResidual, nodes });
        }
        let cap = reader.filter(|&r| matches!(self.op(r), Op::Softcap { .. }));
        Some(Group { kind: GroupKind::Linear, nodes: [n].into_iter().chain(cap).collect() })
    }

    /// A norm between a `linear` and the residual stream: the whole row is needed before anything can be added.
    fn joined(&self, n: NodeId) -> Option<Group> {
        let Op::RmsNorm(NormAttrs { heads: 1, .. }) = self.op(n) else { return None };
        self.inner(n, |op| matches!(op, Op::Linear))?;
        let add = self.only_reader(n).filter(|&r| matches!(self.op(r), Op::Add))?;
        let mut nodes = vec![n, add];
        self.add_reader(&mut nodes, is_row_norm);
        self.add_quantize(&mut nodes);
        Some(Group { kind: GroupKind::Norm, nodes })
    }

    fn norm(&self, n: NodeId) -> Option<Group> {
        if !is_row_norm(self.op(n)) {
            return None;
        }
        let mut nodes = vec![n];
        self.add_quantize(&mut nodes);
        Some(Group { kind: GroupKind::Norm, nodes })
    }

    fn single(&self, n: NodeId) -> Option<Group> {
        Some(Group { kind: GroupKind::Single, nodes: vec![n] })
    }

    fn op(&self, n: NodeId) -> &Op {
        &self.g.nodes[n].op
    }

    /// The free node that makes `v`, if its op is right.
    fn def(&self, v: ValueId, right: impl Fn(&Op) -> bool) -> Option<NodeId> {
        match self.g.values[v].def {
            Def::Node(n) if !self.taken[n.index()] && right(self.op(n)) => Some(n),
            Def::Node(_) | Def::Input => None,
        }
    }

    /// As [`Self::def`], where nobody else reads `v`.
    fn inner_value(&self, v: ValueId, right: impl Fn(&Op) -> bool) -> Option<NodeId> {
        self.uses.sole(v)?;
        self.def(v, right)
    }

    /// As [`Self::inner_value`], of the first operand of `n`.
    fn inner(&self, n: NodeId, right: impl Fn(&Op) -> bool) -> Option<NodeId> {
        self.inner_value(self.g.nodes[n].inputs[0], right)
    }

    /// The only reader of the result of `n`, if it is free.
    fn only_reader(&self, n: NodeId) -> Option<NodeId> {
        self.uses.sole(self.g.nodes[n].output).filter(|r| !self.taken[r.index()])
    }

    /// The first free reader of the result of the last of `nodes` whose op is right joins them.
    fn add_reader(&self, nodes: &mut Vec<NodeId>, right: impl Fn(&Op) -> bool) {
        let Some(&last) = nodes.last() else { return };
        let readers = self.uses.users(self.g.nodes[last].output);
        nodes.extend(readers.iter().find(|r| !self.taken[r.index()] && right(self.op(**r))));
    }

    fn add_norm(&self, nodes: &mut Vec<NodeId>) {
        self.add_reader(nodes, |op| matches!(op, Op::RmsNorm(a) if a.heads == 1));
    }

    fn add_quantize(&self, nodes: &mut Vec<NodeId>) {
        self.add_reader(nodes, |op| matches!(op, Op::QuantizeAct));
    }
}

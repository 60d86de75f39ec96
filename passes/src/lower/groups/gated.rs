//! The gate and up projections of a feed-forward layer, their rows dealt to units of 32 gate rows and 32 up rows.

use slmc_ir::graph::{Group, NodeId, Op};
use slmc_ir::plan::Binding;

use super::project::Product;
use super::{Repr, Run};
use crate::lower::activation::{ActShape, GROUP};
use crate::lower::context::Lowering;
use crate::lower::emit::Epilogue;
use crate::lower::gate::Gate;

impl Lowering<'_> {
    pub(super) fn gated(&mut self, group: &Group, run: &mut Run) {
        let Some((act_node, gate)) = group.nodes.iter().find_map(|&n| match self.node(n).op {
            Op::Silu => Some((n, Gate::Silu)),
            Op::GeluTanh => Some((n, Gate::GeluTanh)),
            _ => None,
        }) else {
            self.fault(group.nodes[0], "a gated group without silu or gelu_tanh");
            return;
        };
        let gate_value = self.node(act_node).inputs[0];
        let linears: Vec<NodeId> = group.nodes.iter().copied().filter(|&n| matches!(self.node(n).op, Op::Linear)).collect();
        let (Some(&g), Some(&u)) =
            (linears.iter().find(|&&n| self.node(n).output == gate_value), linears.iter().find(|&&n| self.node(n).output != gate_value))
        else {
            self.fault(act_node, "a gated group without a gate and an up projection");
            return;
        };
        let pair = [g, u].map(|n| self.node(n).weights.clone());
        if self.dtype_of(pair[0][0]) != self.dtype_of(pair[1][0]) {
            self.fault(g, "gate and up projections in two formats; give both the same one with --keep");
            return;
        }
        let Some((act, shape)) = self.act_of(g, run) else { return };
        let quantized = self.quantized(group);
        let product = self.find(group, |op| matches!(op, Op::Mul)).next().map(|n| n.output);
        let Some(result) = quantized.or(product) else {
            self.fault(g, "a gated group without a product");
            return;
        };
        let Some(features) = self.graph.values[gate_value].ty.last() else { return };
        let out = ActShape { quantized: quantized.is_some(), k: features, rows: self.rows(run.phase), norm: None };
        let written = self.act_buffers(&format!("{result}"), &out, false);
        run.values.insert(result, Repr::Act(written.clone(), out));
        let mut rows = Vec::with_capacity(2 * out.stride() as usize);
        for unit in 0..out.groups() {
            for w in &pair {
                rows.extend((unit * GROUP..(unit + 1) * GROUP).map(|r| (r < features).then_some((w[0], r))));
            }
        }
        let layout = self.layout_of(pair[0][0]);
        let product = Product {
            node: g,
            act: &act,
            shape,
            layout,
            rows,
            unit_blocks: 2 * GROUP / u32::from(layout.lanes),
            biases: pair.iter().filter_map(|w| w.get(1).map(|b| (w[0], *b))).collect(),
        };
        let outputs = |_: &mut Self| written.into_iter().map(Binding::Arena).collect();
        self.project(product, Epilogue::Gated { gate, out }, outputs, run);
    }
}

//! The head's projection: hidden rows to logits.

use slmc_ir::graph::{NodeId, Op};
use slmc_ir::plan::Binding;

use super::Run;
use super::project::Product;
use crate::lower::context::Lowering;
use crate::lower::emit::Epilogue;
use crate::lower::launch::HEAD_ROWS;

impl Lowering<'_> {
    pub(super) fn logits(&mut self, node: NodeId, run: &mut Run) {
        let weights = self.node(node).weights.clone();
        let Some((act, shape)) = self.act_of(node, run) else { return };
        let result = self.node(node).output;
        let softcap = self.graph.head.order.iter().map(|&n| self.node(n)).find_map(|n| match n.op {
            Op::Softcap { cap } if n.inputs[0] == result => Some(cap),
            _ => None,
        });
        let vocab = self.plan.vocab;
        let product = Product {
            node,
            act: &act,
            shape,
            layout: self.layout_of(weights[0]),
            rows: (0..vocab).map(|r| Some((weights[0], r))).collect(),
            unit_blocks: 1,
            biases: weights.get(1).map(|b| (weights[0], *b)).into_iter().collect(),
        };
        let outputs = vec![Binding::Arena(self.plan.logits)];
        self.project(product, Epilogue::Logits { vocab, rows: HEAD_ROWS, softcap }, |_| outputs, run);
    }
}

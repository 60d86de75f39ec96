//! A projection whose rows are needed whole by what follows.

use slmc_ir::graph::Group;
use slmc_ir::plan::Binding;

use super::project::Product;
use super::{Repr, Run};
use crate::lower::activation::GROUP;
use crate::lower::context::Lowering;
use crate::lower::emit::Epilogue;

impl Lowering<'_> {
    pub(super) fn linear(&mut self, group: &Group, run: &mut Run) {
        let linear = group.nodes[0];
        let Some((act, shape)) = self.act_of(linear, run) else { return };
        let (result, weights) = (self.node(linear).output, self.node(linear).weights.clone());
        let Some(features) = self.graph.values[result].ty.last() else { return };
        let stride = features.next_multiple_of(GROUP);
        let rows = self.rows(run.phase);
        let written = self.buffer(format!("{result}"), 4 * u64::from(rows) * u64::from(stride), false);
        let layout = self.layout_of(weights[0]);
        let product = Product {
            node: linear,
            act: &act,
            shape,
            layout,
            rows: (0..stride).map(|r| (r < features).then_some((weights[0], r))).collect(),
            unit_blocks: GROUP / u32::from(layout.lanes),
            biases: weights.get(1).map(|b| (weights[0], *b)).into_iter().collect(),
        };
        self.project(product, Epilogue::Rows { features, rows }, |_| vec![Binding::Arena(written)], run);
        run.values.insert(result, Repr::Rows(written));
    }
}

//! A projection whose rows are needed whole by what follows.

use slmc_ir::graph::Group;
use slmc_ir::plan::Binding;

use super::{Repr, Run};
use crate::lower::activation::GROUP;
use crate::lower::context::Lowering;
use crate::lower::emit::Epilogue;

impl Lowering<'_> {
    pub(super) fn linear(&mut self, group: &Group, run: &mut Run) {
        let linear = group.nodes[0];
        let Some((act, shape)) = self.act_of(linear, run) else { return };
        let result = self.node(linear).output;
        let Some(features) = self.graph.values[result].ty.last() else { return };
        let stride = features.next_multiple_of(GROUP);
        let rows = self.rows(run.phase);
        let written = self.buffer(format!("{result}"), 4 * u64::from(rows) * u64::from(stride), false);
        let product = self.feature_product(linear, &act, shape, features);
        self.project(product, Epilogue::Rows { features, rows }, |_| vec![Binding::Arena(written)], run);
        run.values.insert(result, Repr::Rows(written));
    }
}

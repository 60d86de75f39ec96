//! A projection that is added to the residual stream, with the next norm.

use slmc_ir::graph::{Group, Op};
use slmc_ir::plan::Binding;

use super::project::Product;
use super::{Repr, Run};
use crate::lower::activation::GROUP;
use crate::lower::context::Lowering;
use crate::lower::emit::Epilogue;

impl Lowering<'_> {
    pub(super) fn residual(&mut self, group: &Group, run: &mut Run) {
        let linear = group.nodes[0];
        let Some(sum) = self.find(group, |op| matches!(op, Op::Add)).next().map(|n| (n.inputs.clone(), n.output)) else {
            self.fault(linear, "a projection whose result is not added to the residual stream");
            return;
        };
        let product = self.node(linear).output;
        let before = if sum.0[0] == product { sum.0[1] } else { sum.0[0] };
        let Some(Repr::Residual(residual)) = run.values.get(&before).cloned() else {
            self.consequence(linear, "its residual is not the stream that the embedding began");
            return;
        };
        let mut later = self.graph.body.order.iter().skip_while(|&&n| self.graph.nodes[n].output != sum.1).skip(1);
        if later.any(|&n| self.graph.nodes[n].inputs.contains(&before)) {
            self.fault(linear, "the residual before the sum is used again after it");
            return;
        }
        let Some((act, shape)) = self.act_of(linear, run) else { return };
        let Some((written, out, norm)) = self.normed_output(group, run) else { return };
        run.values.insert(sum.1, Repr::Residual(residual));
        let weights = self.node(linear).weights.clone();
        let layout = self.layout_of(weights[0]);
        let product = Product {
            node: linear,
            act: &act,
            shape,
            layout,
            rows: (0..out.stride()).map(|r| (r < out.k).then_some((weights[0], r))).collect(),
            unit_blocks: GROUP / u32::from(layout.lanes),
            biases: weights.get(1).map(|b| (weights[0], *b)).into_iter().collect(),
        };
        let epilogue = Epilogue::Residual { out, rows: self.rows(run.phase) };
        let outputs = |cx: &mut Self| {
            let mut bindings = vec![Binding::Arena(residual), Binding::Packed(cx.pack_vector(norm.weight, out.stride(), norm.plus))];
            bindings.extend(written.into_iter().map(Binding::Arena));
            bindings
        };
        self.project(product, epilogue, outputs, run);
    }
}

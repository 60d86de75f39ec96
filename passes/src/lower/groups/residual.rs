//! A projection that is added to the residual stream, with the next norm.

use slmc_ir::graph::{Group, Op};
use slmc_ir::plan::Binding;

use super::Run;
use crate::lower::activation::GROUP;
use crate::lower::context::Lowering;
use crate::lower::emit::Epilogue;

impl Lowering<'_> {
    pub(super) fn residual(&mut self, group: &Group, run: &mut Run) {
        let linear = group.nodes[0];
        let Some(sum) = self.find(group, |op| matches!(op, Op::Add)).next().cloned() else {
            self.fault(linear, "a projection whose result is not added to the residual stream");
            return;
        };
        let product = self.node(linear).output;
        let Some(features) = self.graph.values[product].ty.last() else { return };
        let stride = features.next_multiple_of(GROUP);
        let Some((act, shape)) = self.act_of(linear, run) else { return };
        let Some(residual) = self.add_to_stream(linear, &sum, product, run) else { return };
        let Some(normed) = self.split_norm_output(group, run) else { return };
        let product = self.feature_product(linear, &act, shape, features);
        let epilogue = Epilogue::Residual { features, out: normed.as_ref().map(|n| n.1), rows: self.rows(run.phase) };
        let outputs = |cx: &mut Self| {
            let mut bindings = vec![Binding::Arena(residual)];
            if let Some((written, _, norm)) = normed {
                bindings.push(Binding::Packed(cx.pack_vector(norm.weight, stride, norm.plus)));
                bindings.extend(written.into_iter().map(Binding::Arena));
            }
            bindings
        };
        self.project(product, epilogue, outputs, run);
    }
}

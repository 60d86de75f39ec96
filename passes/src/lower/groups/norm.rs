//! A norm that is a launch of its own: `layer_norm`, and the norm between a projection and the residual stream.

use slmc_ir::graph::{Group, NormAttrs, Op};
use slmc_ir::plan::Binding;

use super::{NormWeight, Repr, Run};
use crate::lower::context::Lowering;
use crate::lower::emit::{Norm, NormBy};

impl Lowering<'_> {
    pub(super) fn norm(&mut self, group: &Group, run: &mut Run) {
        let first = group.nodes[0];
        let Some(&last) = group.nodes.iter().rfind(|&&n| matches!(self.node(n).op, Op::RmsNorm(_) | Op::LayerNorm { .. })) else {
            self.fault(first, "a group of kind norm without one");
            return;
        };
        let add = self.find(group, |op| matches!(op, Op::Add)).next().cloned();
        let (residual, product) = match &add {
            Some(add) => {
                if last == first {
                    self.fault(first, "a sum with the residual stream that no norm follows");
                    return;
                }
                let (input, normed) = (self.node(first).inputs[0], self.node(first).output);
                let Some(Repr::Rows(product)) = run.values.get(&input).cloned() else {
                    self.consequence(first, "what it norms is no projection's result");
                    return;
                };
                let Some(residual) = self.add_to_stream(first, add, normed, run) else { return };
                (residual, Some(product))
            }
            None => match run.values.get(&self.node(first).inputs[0]).cloned() {
                Some(Repr::Residual(rows) | Repr::Rows(rows)) => (rows, None),
                _ => {
                    self.consequence(first, "what it norms is not the residual stream");
                    return;
                }
            },
        };
        let joined = match (product, &self.node(first).op) {
            (Some(_), Op::RmsNorm(NormAttrs { eps, .. })) => Some(*eps),
            _ => None,
        };
        let by = match self.node(last).op {
            Op::LayerNorm { eps } => NormBy::Deviation { eps, bias: self.node(last).weights.len() > 1 },
            Op::RmsNorm(NormAttrs { eps, .. }) => NormBy::RootMeanSquare { eps },
            _ => return,
        };
        let Some((written, out)) = self.norm_output(last, group, None, run) else { return };
        let mut bindings = Vec::new();
        if let Some(product) = product {
            let NormWeight { weight, plus } = self.norm_weight(first);
            bindings.extend([Binding::Arena(product), Binding::Packed(self.pack_vector(weight, out.stride(), plus))]);
        }
        bindings.push(Binding::Arena(residual));
        let NormWeight { weight, plus } = self.norm_weight(last);
        bindings.push(Binding::Packed(self.pack_vector(weight, out.stride(), plus)));
        if let Some(&bias) = self.node(last).weights.get(1) {
            bindings.push(Binding::Packed(self.pack_vector(bias, out.stride(), 0.0)));
        }
        bindings.extend(written.into_iter().map(Binding::Arena));
        let norm = Norm { features: out.k, joined, by, out, rows: self.rows(run.phase), phase: run.phase };
        let (emit, limits) = (self.emit, self.limits);
        let dispatch = self.launch(&norm.kernel_name(), bindings, |name| emit.norm(name, &norm, &limits));
        run.out.push(dispatch);
    }
}

//! The group that begins the residual stream: rows of the embedding table, scaled, with the first norm.

use slmc_ir::graph::{Group, Op};
use slmc_ir::plan::Binding;

use super::{Repr, Run};
use crate::lower::activation::GROUP;
use crate::lower::context::Lowering;
use crate::lower::emit::Embed;

impl Lowering<'_> {
    pub(super) fn embed(&mut self, group: &Group, run: &mut Run) {
        let node = self.node(group.nodes[0]);
        let table = node.weights[0];
        let mut stream = node.output;
        let mut scale = 1.0;
        if let Some(n) = self.find(group, |op| matches!(op, Op::Scale { .. })).next()
            && let Op::Scale { factor } = n.op
        {
            scale = factor;
            stream = n.output;
        }
        let phase = run.phase;
        let Some(normed) = self.split_norm_output(group, run) else { return };
        let residual_rows = self.rows(phase);
        let ty = self.graph.weights[table].ty.clone();
        let Some([vocab, features]) = ty.const_shape().and_then(|s| <[u32; 2]>::try_from(s).ok()) else {
            self.fault(group.nodes[0], "a table that is not [V, D]");
            return;
        };
        let stride = features.next_multiple_of(GROUP);
        let residual = self.buffer(format!("{stream}.residual"), 4 * u64::from(residual_rows) * u64::from(stride), false);
        run.values.insert(stream, Repr::Residual(residual));
        let (layout, k) = (self.layout_of(table), self.emit.packed_columns(features));
        let rows = (0..vocab).map(|r| Some((table, r))).collect();
        let Some(sections) = self.pack_sections(group.nodes[0], layout, k, rows, 1) else { return };
        let out = normed.as_ref().map(|normed| normed.1);
        let mut written = Vec::new();
        if let Some((act, _, norm)) = normed {
            written.push(Binding::Packed(self.pack_vector(norm.weight, stride, norm.plus)));
            written.extend(act.into_iter().map(Binding::Arena));
        }
        for (span, packed) in sections {
            let embed = Embed { layout, vocab, span, k, features, scale, out, residual_rows, phase };
            let to = out.map_or(format!("f{features}r{residual_rows}"), |out| out.tag());
            let name = format!("embed_{}_v{vocab}_s{:x}_{to}_{}{}", ty.dtype, scale.to_bits(), phase.tag(), span.tag());
            let mut bindings = vec![Binding::Arena(self.plan.tokens), Binding::Packed(packed), Binding::Arena(residual)];
            bindings.extend(&written);
            let (emit, limits) = (self.emit, self.limits);
            let dispatch = self.launch(&name, bindings, |name| emit.embed(name, &embed, &limits));
            run.out.push(dispatch);
        }
    }
}

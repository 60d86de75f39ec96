//! Attention over the cache, with the quantization that follows it: by the same kernel where a head's dims are whole groups.

use slmc_ir::graph::{Group, Op};
use slmc_ir::plan::{ArenaId, Binding};

use super::{Repr, Run};
use crate::lower::activation::{ActShape, GROUP};
use crate::lower::context::Lowering;
use crate::lower::emit::Attention;

impl Lowering<'_> {
    pub(super) fn attention(&mut self, group: &Group, run: &mut Run) {
        let (node, phase) = (group.nodes[0], run.phase);
        let Op::Attention(attrs) = self.node(node).op else {
            self.fault(node, "a group of kind attention that does not begin with one");
            return;
        };
        let inputs = self.node(node).inputs.clone();
        let result = self.node(node).output;
        let of = |i: usize| run.values.get(&inputs[i]).cloned();
        let (Some(Repr::Queries(q)), Some(Repr::Cache(k)), Some(Repr::Cache(v))) = (of(0), of(1), of(2)) else {
            self.consequence(node, "its operands are not the results of a fused q, k, v group");
            return;
        };
        let heads = self.emit.heads(&attrs, self.graph.values[inputs[1]].ty.dtype, &self.limits);
        let quantized = self.quantized(group);
        let rows = self.rows(phase);
        // A group of 32 features must lie in one head to be quantized by the tile that makes it.
        let fused = quantized.is_some() && attrs.head_dim % GROUP == 0;
        let shape = ActShape { quantized: fused, k: attrs.heads * attrs.head_dim, rows, norm: None };
        let buffers = self.act_buffers(&format!("{result}"), &shape, false);
        let attention = Attention { heads, scale: attrs.scale, softcap: attrs.softcap, out: shape, phase, q_rows: rows };
        let name = attention.kernel_name();
        let (emit, limits) = (self.emit, self.limits);
        let spans = emit.spans(&format!("combine_{name}"), &attention, &limits);
        let parts: Option<Vec<ArenaId>> =
            spans.as_ref().map(|spans| spans.parts.iter().map(|(part, bytes)| self.buffer(format!("{result}.{part}"), *bytes, false)).collect());
        let mut bindings = vec![Binding::Arena(q), Binding::Kv(k), Binding::Kv(v)];
        bindings.extend(parts.as_ref().unwrap_or(&buffers).iter().copied().map(Binding::Arena));
        let dispatch = self.launch(&name, bindings, |name| emit.attention(name, &attention, &limits));
        run.out.push(dispatch);
        if let (Some(spans), Some(parts)) = (spans, parts) {
            let name = spans.combine.kernel.name.clone();
            let bindings = parts.iter().chain(&buffers).copied().map(Binding::Arena).collect();
            let dispatch = self.launch(&name, bindings, |_| spans.combine);
            run.out.push(dispatch);
        }
        let Some(quantized) = quantized else {
            run.values.insert(result, Repr::Act(buffers, shape));
            return;
        };
        if fused {
            run.values.insert(quantized, Repr::Act(buffers, shape));
            return;
        }
        let to = ActShape { quantized: true, ..shape };
        let written = self.act_buffers(&format!("{quantized}"), &to, false);
        let name = format!("quantize_{}_{}", to.tag(), phase.tag());
        let bindings = buffers.iter().chain(&written).copied().map(Binding::Arena).collect();
        let dispatch = self.launch(&name, bindings, |name| emit.quantize(name, shape, to, phase, &limits));
        run.out.push(dispatch);
        run.values.insert(quantized, Repr::Act(written, to));
    }
}

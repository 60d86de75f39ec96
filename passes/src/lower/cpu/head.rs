//! Lowers the head: hidden rows to logits.

use slmc_ir::graph::Op;
use slmc_ir::plan::{Binding, Dispatch};

use super::body::Values;
use super::epilogue::LogitsOutput;
use super::matmul::Frame;
use super::{Lowering, Repr};
use crate::lower::launch::HEAD_ROWS;
use crate::lower::launch::Phase;

impl Lowering<'_> {
    /// Lowers the head for a phase.
    pub(super) fn head(&mut self, phase: Phase) -> Vec<Dispatch> {
        let mut values = Values::new();
        let mut out = Vec::new();
        let Some((buffers, shape)) = self.boundary.clone() else { return out };
        for &v in &self.graph.head.inputs {
            values.insert(v, Repr::Act(buffers.clone(), shape));
        }
        for &n in &self.graph.head.order {
            let node = &self.graph.nodes[n];
            match node.op {
                // The body's last kernel has quantized already.
                Op::QuantizeAct if values.contains_key(&node.inputs[0]) => {
                    values.insert(node.output, Repr::Act(buffers.clone(), shape));
                }
                Op::Linear => {
                    let weights = node.weights.clone();
                    let Some((act, act_shape)) = self.act_of(n, &values) else { continue };
                    let layout = self.layout(self.graph.weights[weights[0]].ty.dtype);
                    let lanes = u32::from(layout.lanes);
                    let vocab = self.plan.vocab;
                    let rows = (0..vocab).map(|r| Some((weights[0], r))).collect();
                    let (mut bindings, bias) = self.inputs_of(&act, layout, act_shape.k, rows, lanes, |_| weights.get(1).copied());
                    bindings.push(Binding::Arena(self.plan.logits));
                    let units = vocab.div_ceil(lanes);
                    let frame = Frame { phase, layout, k: act_shape.k, units, unit_blocks: 1, act: act_shape, bias };
                    let name = format!("logits_v{vocab}_{}", frame.tag());
                    let (sched, limits) = (self.sched.clone(), self.limits);
                    let kernel = self.kernel(&name, |name| {
                        frame.launch(name, &sched, &limits, |b| LogitsOutput::declare(b, vocab, HEAD_ROWS), |b, o, done| o.store(b, &done))
                    });
                    out.push(self.dispatch(kernel, bindings));
                }
                _ => self.fault(n, "no CPU schedule for this node in the head"),
            }
        }
        out
    }
}

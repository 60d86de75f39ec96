//! `fold`: removes what does no work.
//!
//! Rules, applied in one walk in order of execution:
//! - `scale-one`: a `scale` by 1 is its operand;
//! - `scale-scale`: a `scale` of a `scale` is one `scale` by the product, where the product is a normal number;
//! - `same-node`: a node with op, operands and weights of an earlier one is that one (`kv_append` aside, which writes state);
//! - `dead`: nodes whose result nothing needs, and weights that no node names.
//!
//! A dead `kv_append` stays: the cache outlives the step. Soft caps do not merge: `a·tanh(b/a·tanh(x/b))` is no soft cap.
//!
//! Before:
//! ```text
//! slmir 0
//! graph @example {chunk = 8, ctx = 32, kv_slots = 0} {
//!   body(v0: f32[T,32]) {
//!     v1: f32[T,32] = scale v0 {factor = 0x1p1}
//!     v2: f32[T,32] = scale v1 {factor = 0x1.8p1}
//!     v3: f32[T,32] = scale v2 {factor = 0x1p0}
//!     v4: f32[T,32] = silu v3
//!     return v4
//!   }
//! }
//! ```
//! After `fold`:
//! ```text
//! slmir 0
//! graph @example {chunk = 8, ctx = 32, kv_slots = 0} {
//!   body(v0: f32[T,32]) {
//!     v1: f32[T,32] = scale v0 {factor = 0x1.8p2}
//!     v2: f32[T,32] = silu v1
//!     return v2
//!   }
//! }
//! ```

use std::collections::BTreeMap;

use slmc_ir::graph::{Graph, NodeId, Op, SegmentKind, ValueId};

use crate::manager::{Changed, OptionError, Options, Pass, PassCx, PassError, PassInfo};
use crate::rewrite::rebuild::SEGMENTS;
use crate::rewrite::{Rebuild, sweep};

/// Row of the pass list.
pub static INFO: PassInfo<Graph> =
    PassInfo { name: "fold", summary: "merge scales, equal nodes; remove dead nodes and dead weights", options: &[], build };

struct Fold;

fn build(options: &Options) -> Result<Box<dyn Pass<Graph>>, OptionError> {
    options.reader(INFO.name).finish(Box::new(Fold))
}

impl Pass<Graph> for Fold {
    fn info(&self) -> &'static PassInfo<Graph> {
        &INFO
    }

    fn run(&self, g: &mut Graph, _: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let mut rebuild = Rebuild::new(g);
        let mut fired = 0;
        for which in SEGMENTS {
            rebuild.begin(which);
            let mut known = Known::default();
            for &n in &g.segment(which).order {
                fired += usize::from(fold_node(g, which, n, &mut rebuild, &mut known));
            }
            rebuild.end(which);
        }
        if fired > 0 {
            *g = rebuild.finish();
        }
        let swept = sweep(g);
        Ok(Changed::when(fired > 0 || !swept.is_empty()))
    }
}

/// Nodes of the new segment by their first operand.
#[derive(Default)]
struct Known {
    nodes: BTreeMap<ValueId, Vec<NodeId>>,
}

/// Rebuilds one node; tells whether a rule fired.
fn fold_node(g: &Graph, which: SegmentKind, n: NodeId, rebuild: &mut Rebuild<'_>, known: &mut Known) -> bool {
    let node = &g.nodes[n];
    let mut inputs = rebuild.inputs(n);
    let mut op = node.op.clone();
    let mut fired = false;
    if let Op::Scale { factor } = &mut op {
        if *factor == 1.0 {
            rebuild.bind(node.output, inputs[0]);
            return true;
        }
        if let Some(inner) = rebuild.graph().def(inputs[0])
            && let Op::Scale { factor: inner_factor } = inner.op
            && (*factor * inner_factor).is_normal()
        {
            *factor *= inner_factor;
            inputs[0] = inner.inputs[0];
            fired = true;
        }
        if *factor == 1.0 {
            rebuild.bind(node.output, inputs[0]);
            return true;
        }
    }
    let earlier = known.nodes.entry(inputs[0]).or_default();
    if !matches!(op, Op::KvAppend(_))
        && let Some(&same) = earlier.iter().find(|&&e| {
            let e = &rebuild.graph().nodes[e];
            e.op == op && e.inputs == inputs && e.weights == node.weights
        })
    {
        let output = rebuild.graph().nodes[same].output;
        rebuild.bind(node.output, output);
        return true;
    }
    earlier.push(rebuild.graph().nodes.next_id());
    let new = rebuild.emit(which, op, &inputs, &node.weights, g.values[node.output].ty.clone());
    rebuild.bind(node.output, new);
    fired
}

//! Removes what nothing needs.
//!
//! A node is live if its result leaves the segment, if a live node reads it, or if it is a `kv_append`: that one writes
//! state that outlives the step. A weight is live if a live node names it. What stays is renumbered in order.

use slmc_ir::arena::Id;
use slmc_ir::graph::{Graph, Op};

use super::rebuild::SEGMENTS;

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Nodes.
    pub nodes: usize,
    /// Weights.
    pub weights: usize,
}

impl Swept {
    /// Whether nothing was removed.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Removes dead nodes and dead weights of `g`, which is verified. If there are none `g` stays as it is; otherwise groups are
/// undone.
pub fn sweep(g: &mut Graph) -> Swept {
    let mut live_node = vec![false; g.nodes.len()];
    let mut live_weight = vec![false; g.weights.len()];
    for which in SEGMENTS {
        let segment = g.segment(which);
        let mut live_value = vec![false; g.values.len()];
        for v in &segment.outputs {
            live_value[v.index()] = true;
        }
        for &n in segment.order.iter().rev() {
            let node = &g.nodes[n];
            if live_value[node.output.index()] || matches!(node.op, Op::KvAppend(_)) {
                live_node[n.index()] = true;
                node.inputs.iter().for_each(|v| live_value[v.index()] = true);
                node.weights.iter().for_each(|w| live_weight[w.index()] = true);
            }
        }
    }
    let dead = |live: &[bool]| live.iter().filter(|l| !**l).count();
    let swept = Swept { nodes: dead(&live_node), weights: dead(&live_weight) };
    if !swept.is_empty() {
        for which in SEGMENTS {
            let segment = g.segment_mut(which);
            segment.order.retain(|n| live_node[n.index()]);
            segment.groups.clear();
        }
        // Drops from the arenas what the segments no longer hold.
        let renumbered = g.renumber();
        debug_assert!(renumbered, "a verified graph has a canonical numbering");
    }
    swept
}

//! Who uses a value.

use slmc_ir::arena::Id;
use slmc_ir::graph::{Graph, NodeId, SegmentKind, ValueId};

/// The uses of every value in one segment, as it was when the table was made.
#[derive(Debug, Clone)]
pub struct Uses {
    users: Vec<Vec<NodeId>>,
    output: Vec<bool>,
}

impl Uses {
    /// The table of a segment.
    pub fn of(g: &Graph, which: SegmentKind) -> Self {
        let mut uses = Self { users: vec![Vec::new(); g.values.len()], output: vec![false; g.values.len()] };
        for &n in &g.segment(which).order {
            for v in &g.nodes[n].inputs {
                uses.users[v.index()].push(n);
            }
        }
        for v in &g.segment(which).outputs {
            uses.output[v.index()] = true;
        }
        uses
    }

    /// The nodes that read `v`, in order of execution; a node that reads it twice stands there twice.
    pub fn users(&self, v: ValueId) -> &[NodeId] {
        &self.users[v.index()]
    }

    /// The node that reads `v`, if there is one use and `v` does not leave the segment.
    pub fn sole(&self, v: ValueId) -> Option<NodeId> {
        match self.users(v) {
            [n] if !self.output[v.index()] => Some(*n),
            _ => None,
        }
    }
}

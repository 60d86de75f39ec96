//! Builds a new graph from an old one, node by node, keeping track of what became of each value.
//!
//! The new graph has no groups: a pass that changes nodes undoes fusion, and `fuse` is run again.

use slmc_ir::arena::{Arena, Id};
use slmc_ir::graph::{Graph, NodeId, Op, SegmentKind, TensorType, ValueId, WeightId};

/// A graph under construction, next to the one it comes from.
#[derive(Debug)]
pub struct Rebuild<'g> {
    old: &'g Graph,
    new: Graph,
    map: Vec<Option<ValueId>>,
}

impl<'g> Rebuild<'g> {
    /// A new graph without nodes, with the weights of `old` under the same ids.
    pub fn new(old: &'g Graph) -> Self {
        let mut new = Graph::new(old.name.clone(), old.bounds);
        new.kv_slots = old.kv_slots;
        new.weights = old.weights.clone();
        Self { old, new, map: vec![None; old.values.len()] }
    }

    /// The graph so far.
    pub fn graph(&self) -> &Graph {
        &self.new
    }

    /// The weights of the new graph.
    pub fn weights_mut(&mut self) -> &mut Arena<WeightId, slmc_ir::graph::Weight> {
        &mut self.new.weights
    }

    /// Adds the inputs of a segment. Segments are rebuilt in the order body, head.
    pub fn begin(&mut self, which: SegmentKind) {
        let old = self.old;
        for &v in &old.segment(which).inputs {
            let new = self.new.add_input(which, old.values[v].ty.clone());
            self.bind(v, new);
        }
    }

    /// What became of the old value `v`, which must have been bound or copied.
    pub fn value(&self, v: ValueId) -> ValueId {
        self.map[v.index()].expect("invariant: a verified graph defines values before their uses")
    }

    /// What became of the inputs of the old node `n`.
    pub fn inputs(&self, n: NodeId) -> Vec<ValueId> {
        self.old.nodes[n].inputs.iter().map(|&v| self.value(v)).collect()
    }

    /// Says that the new value `new` takes the place of the old value `old`.
    pub fn bind(&mut self, old: ValueId, new: ValueId) {
        self.map[old.index()] = Some(new);
    }

    /// Adds a node that has no counterpart; operands are new ids.
    pub fn emit(&mut self, which: SegmentKind, op: Op, inputs: &[ValueId], weights: &[WeightId], ty: TensorType) -> ValueId {
        self.new.add_node(which, op, inputs, weights, ty)
    }

    /// Copies the old node `n` as it is and gives the new node.
    pub fn copy(&mut self, which: SegmentKind, n: NodeId) -> NodeId {
        let node = &self.old.nodes[n];
        let inputs = self.inputs(n);
        let made = self.new.nodes.next_id();
        let new = self.emit(which, node.op.clone(), &inputs, &node.weights, self.old.values[node.output].ty.clone());
        self.bind(node.output, new);
        made
    }

    /// Sets the outputs of a segment.
    pub fn end(&mut self, which: SegmentKind) {
        let outputs = self.old.segment(which).outputs.iter().map(|&v| self.value(v)).collect();
        self.new.segment_mut(which).outputs = outputs;
    }

    /// The new graph.
    pub fn finish(self) -> Graph {
        self.new
    }
}

/// Both segments, in the order in which they are rebuilt and printed.
pub const SEGMENTS: [SegmentKind; 2] = [SegmentKind::Body, SegmentKind::Head];

//! Canonical numbering: what the parser would give.
//!
//! Passes leave dead nodes, values and weights in the arenas and put nodes into an order that their ids do not show. After
//! [`Graph::renumber`] the arenas hold what the segments use and nothing else.

use super::{Def, Graph, Group, Node, NodeId, SegmentKind, ValueId, WeightId};
use crate::arena::{Arena, Id};

impl Graph {
    /// Numbers values and nodes densely in order of definition (body, then head) and drops those that no segment holds, and
    /// weights that no node of a segment uses; weights keep their order. Idempotent; afterwards `parse(print(g)) == g`.
    ///
    /// `false`, and nothing is changed, if the graph is broken in a way that has no canonical form: an id out of range, a
    /// node in two places, a use of a value that no segment defines. The verifier reports each of these.
    pub fn renumber(&mut self) -> bool {
        match self.renumbered() {
            Some(graph) => {
                *self = graph;
                true
            }
            None => false,
        }
    }

    fn renumbered(&self) -> Option<Graph> {
        let mut maps = Maps { weights: vec![None; self.weights.len()], values: vec![None; self.values.len()], nodes: vec![None; self.nodes.len()] };
        let mut out = Graph::new(self.name.clone(), self.bounds);
        out.kv_slots = self.kv_slots;
        let mut used = vec![false; self.weights.len()];
        for &n in self.body.order.iter().chain(&self.head.order) {
            for w in &self.nodes.get(n)?.weights {
                *used.get_mut(w.index())? = true;
            }
        }
        for (w, weight) in self.weights.iter().filter(|(w, _)| used[w.index()]) {
            maps.weights[w.index()] = Some(out.weights.push(weight.clone()));
        }
        for which in [SegmentKind::Body, SegmentKind::Head] {
            self.copy_definitions(which, &mut out, &mut maps)?;
        }
        out.nodes = self.copy_operands(&out, &maps)?;
        for which in [SegmentKind::Body, SegmentKind::Head] {
            let from = self.segment(which);
            let to = out.segment_mut(which);
            to.outputs = from.outputs.iter().map(|v| maps.value(*v)).collect::<Option<_>>()?;
            for group in &from.groups {
                let nodes = group.nodes.iter().map(|n| *maps.nodes.get(n.index())?).collect::<Option<_>>()?;
                to.groups.push(Group { kind: group.kind, nodes });
            }
        }
        Some(out)
    }

    fn copy_definitions(&self, which: SegmentKind, out: &mut Graph, maps: &mut Maps) -> Option<()> {
        let segment = self.segment(which);
        for &v in &segment.inputs {
            let id = out.add_input(which, self.values.get(v)?.ty.clone());
            maps.define(v, id)?;
        }
        for &n in &segment.order {
            let node = self.nodes.get(n)?;
            let id = out.add_node(which, node.op.clone(), &[], &[], self.values.get(node.output)?.ty.clone());
            maps.define(node.output, id)?;
            let slot = maps.nodes.get_mut(n.index())?;
            let Def::Node(new) = out.values[id].def else { return None };
            if slot.replace(new).is_some() {
                return None;
            }
        }
        Some(())
    }

    fn copy_operands(&self, out: &Graph, maps: &Maps) -> Option<Arena<NodeId, Node>> {
        let mut nodes = out.nodes.clone();
        for &n in self.body.order.iter().chain(&self.head.order) {
            let (old, new) = (self.nodes.get(n)?, (*maps.nodes.get(n.index())?)?);
            nodes[new].inputs = old.inputs.iter().map(|v| maps.value(*v)).collect::<Option<_>>()?;
            nodes[new].weights = old.weights.iter().map(|w| *maps.weights.get(w.index())?).collect::<Option<_>>()?;
        }
        Some(nodes)
    }
}

/// Old ids → new ids.
struct Maps {
    weights: Vec<Option<WeightId>>,
    values: Vec<Option<ValueId>>,
    nodes: Vec<Option<NodeId>>,
}

impl Maps {
    fn value(&self, v: ValueId) -> Option<ValueId> {
        *self.values.get(v.index())?
    }
    fn define(&mut self, old: ValueId, new: ValueId) -> Option<()> {
        let slot = self.values.get_mut(old.index())?;
        if slot.replace(new).is_some() { None } else { Some(()) }
    }
}

//! A read-only petgraph view of a segment: an edge leads from a node to each node that reads its result.
//!
//! petgraph gives algorithms (toposort, strongly connected components, reachability), never storage: the view borrows
//! nothing and is thrown away when the graph changes. Nodes can be taken together into classes; the view is then the
//! quotient graph, in which a cycle means that the classes cannot be run one after the other.

use slmc_ir::arena::Id;
use slmc_ir::graph::{Def, Graph, NodeId, SegmentKind};

use petgraph::Direction;
use petgraph::visit::{GraphBase, IntoNeighbors, IntoNeighborsDirected, IntoNodeIdentifiers, NodeCount, NodeIndexable, VisitMap, Visitable};

/// The dataflow of a segment, seen as a petgraph graph.
#[derive(Debug, Clone)]
pub struct Dataflow {
    leaders: Vec<NodeId>,
    successors: Vec<Vec<NodeId>>,
    predecessors: Vec<Vec<NodeId>>,
}

impl Dataflow {
    /// Every node for itself.
    pub fn of(g: &Graph, which: SegmentKind) -> Self {
        let classes: Vec<[NodeId; 1]> = g.segment(which).order.iter().map(|&n| [n]).collect();
        Self::grouped(g, classes.iter().map(|c| c.as_slice()))
    }

    /// The quotient by `classes`, each named by its first node. A node outside all classes is not seen.
    pub fn grouped<'c>(g: &Graph, classes: impl Iterator<Item = &'c [NodeId]>) -> Self {
        let mut leader = vec![None; g.nodes.len()];
        let mut view = Self { leaders: Vec::new(), successors: vec![Vec::new(); g.nodes.len()], predecessors: vec![Vec::new(); g.nodes.len()] };
        let mut members = Vec::new();
        for class in classes {
            let Some(&first) = class.first() else { continue };
            view.leaders.push(first);
            for &n in class {
                leader[n.index()] = Some(first);
                members.push(n);
            }
        }
        for n in members {
            let to = leader[n.index()].expect("invariant: members have leaders");
            for &v in &g.nodes[n].inputs {
                let Def::Node(from) = g.values[v].def else { continue };
                let Some(from) = leader[from.index()] else { continue };
                if from != to && !view.successors[from.index()].contains(&to) {
                    view.successors[from.index()].push(to);
                    view.predecessors[to.index()].push(from);
                }
            }
        }
        view
    }

    /// The classes' first nodes in an order that respects every edge and otherwise keeps the order in which they were
    /// given; `None` if there is a cycle.
    pub fn stable_order(&self) -> Option<Vec<NodeId>> {
        let mut waiting: Vec<usize> = self.predecessors.iter().map(Vec::len).collect();
        let mut position = vec![0; self.successors.len()];
        for (i, n) in self.leaders.iter().enumerate() {
            position[n.index()] = i;
        }
        let mut ready: std::collections::BTreeSet<usize> = (0..self.leaders.len()).filter(|&i| waiting[self.leaders[i].index()] == 0).collect();
        let mut order = Vec::with_capacity(self.leaders.len());
        while let Some(i) = ready.pop_first() {
            let n = self.leaders[i];
            order.push(n);
            for s in self.neighbors(n) {
                waiting[s.index()] -= 1;
                if waiting[s.index()] == 0 {
                    ready.insert(position[s.index()]);
                }
            }
        }
        (order.len() == self.leaders.len()).then_some(order)
    }
}

/// Which nodes an algorithm of petgraph has seen.
#[derive(Debug, Clone, Default)]
pub struct Seen(Vec<bool>);

impl VisitMap<NodeId> for Seen {
    fn visit(&mut self, n: NodeId) -> bool {
        !std::mem::replace(&mut self.0[n.index()], true)
    }
    fn is_visited(&self, n: &NodeId) -> bool {
        self.0[n.index()]
    }
    fn unvisit(&mut self, n: NodeId) -> bool {
        std::mem::replace(&mut self.0[n.index()], false)
    }
}

impl GraphBase for Dataflow {
    type NodeId = NodeId;
    type EdgeId = (NodeId, NodeId);
}

impl Visitable for Dataflow {
    type Map = Seen;
    fn visit_map(&self) -> Seen {
        Seen(vec![false; self.successors.len()])
    }
    fn reset_map(&self, map: &mut Seen) {
        *map = self.visit_map();
    }
}

impl<'a> IntoNeighbors for &'a Dataflow {
    type Neighbors = std::iter::Copied<std::slice::Iter<'a, NodeId>>;
    fn neighbors(self, n: NodeId) -> Self::Neighbors {
        self.successors[n.index()].iter().copied()
    }
}

impl<'a> IntoNeighborsDirected for &'a Dataflow {
    type NeighborsDirected = std::iter::Copied<std::slice::Iter<'a, NodeId>>;
    fn neighbors_directed(self, n: NodeId, d: Direction) -> Self::NeighborsDirected {
        match d {
            Direction::Outgoing => self.successors[n.index()].iter().copied(),
            Direction::Incoming => self.predecessors[n.index()].iter().copied(),
        }
    }
}

impl<'a> IntoNodeIdentifiers for &'a Dataflow {
    type NodeIdentifiers = std::iter::Copied<std::slice::Iter<'a, NodeId>>;
    fn node_identifiers(self) -> Self::NodeIdentifiers {
        self.leaders.iter().copied()
    }
}

impl NodeCount for Dataflow {
    fn node_count(&self) -> usize {
        self.leaders.len()
    }
}

impl NodeIndexable for Dataflow {
    fn node_bound(&self) -> usize {
        self.successors.len()
    }
    fn to_index(&self, n: NodeId) -> usize {
        n.index()
    }
    fn from_index(&self, i: usize) -> NodeId {
        NodeId::new(i)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slmc_ir::graph::{Bounds, DType, Op, TensorType};

    /// v0 → n0 scale → n1 silu; n0 → n2 mul(n1, n0).
    fn diamond() -> (Graph, Vec<NodeId>) {
        let mut g = Graph::new("d", Bounds { chunk: 4, ctx: 8 });
        let ty = TensorType::rows(DType::F32, 32);
        let x = g.add_input(SegmentKind::Body, ty.clone());
        let a = g.add_node(SegmentKind::Body, Op::Scale { factor: 2.0 }, &[x], &[], ty.clone());
        let b = g.add_node(SegmentKind::Body, Op::Silu, &[a], &[], ty.clone());
        let c = g.add_node(SegmentKind::Body, Op::Mul, &[b, a], &[], ty);
        g.body.outputs.push(c);
        let order = g.body.order.clone();
        (g, order)
    }

    #[test]
    fn petgraph_sees_the_dataflow() {
        let (g, order) = diamond();
        let view = Dataflow::of(&g, SegmentKind::Body);
        assert_eq!(petgraph::algo::toposort(&view, None).ok(), Some(order.clone()));
        assert!(petgraph::algo::has_path_connecting(&view, order[0], order[2], None));
        assert!(!petgraph::algo::has_path_connecting(&view, order[2], order[0], None));
    }

    #[test]
    fn a_class_that_its_own_result_feeds_through_another_is_a_cycle() {
        let (g, n) = diamond();
        let (outer, inner) = ([n[0], n[2]], [n[1]]);
        let view = Dataflow::grouped(&g, [outer.as_slice(), inner.as_slice()].into_iter());
        assert!(petgraph::algo::is_cyclic_directed(&view));
        assert_eq!(view.stable_order(), None);
        let (first, rest) = ([n[1], n[2]], [n[0]]);
        let view = Dataflow::grouped(&g, [first.as_slice(), rest.as_slice()].into_iter());
        assert_eq!(view.stable_order(), Some(vec![n[0], n[1]]));
    }
}

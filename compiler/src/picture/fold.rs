//! A graph as sections: what comes before the layers, each kind of layer once, what comes after, and the head.
//!
//! A layer ends with the `add` of its feed-forward. Two layers are of one kind if they have the same nodes with the same
//! attributes, types and connections, whatever weights and KV slots they name. Kinds come in the order of their first
//! layers; which layer is of which kind is in [`Folded::order`].

use std::collections::BTreeMap;

use slmc_ir::graph::{Graph, NodeId, Op, SegmentKind, ValueId, WeightId};

use crate::streams::residual_streams;

/// A run of nodes that is drawn together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Where the nodes are.
    pub segment: SegmentKind,
    /// The nodes in order; of layers of one kind, those of the first.
    pub nodes: Vec<NodeId>,
    /// Numbers of the layers that this stands for; none outside of layers.
    pub layers: Vec<usize>,
}

/// A graph taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// The sections in order.
    pub sections: Vec<Section>,
    /// The kind of each layer, counted from 0.
    pub order: Vec<usize>,
    /// The weights of each layer.
    pub weights: Vec<Vec<WeightId>>,
}

/// What fusion made of a node, as far as a section shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Membership {
    /// There are no groups.
    None,
    /// In a group that began before the section.
    Continued,
    /// In the group of this kind that began at this place in the section.
    Began(usize, &'static str),
}

/// Takes `graph` apart.
pub fn fold(graph: &Graph) -> Folded {
    let runs = layer_runs(graph);
    let mut kinds: Vec<(Vec<String>, Section)> = Vec::new();
    let mut folded = Folded { sections: Vec::new(), order: Vec::new(), weights: Vec::new() };
    let order = &graph.body.order;
    for (number, run) in runs.iter().enumerate() {
        let nodes = &order[run.clone()];
        let signature = signature(graph, nodes);
        let kind = kinds.iter().position(|(known, _)| *known == signature).unwrap_or(kinds.len());
        if kind == kinds.len() {
            kinds.push((signature, Section { segment: SegmentKind::Body, nodes: nodes.to_vec(), layers: Vec::new() }));
        }
        kinds[kind].1.layers.push(number);
        folded.order.push(kind);
        folded.weights.push(nodes.iter().flat_map(|&n| graph.nodes[n].weights.clone()).collect());
    }
    let before = runs.first().map_or(order.len(), |run| run.start);
    let after = runs.last().map_or(order.len(), |run| run.end);
    let outside = |segment, nodes: &[NodeId]| Section { segment, nodes: nodes.to_vec(), layers: Vec::new() };
    folded.sections.push(outside(SegmentKind::Body, &order[..before]));
    folded.sections.extend(kinds.into_iter().map(|(_, section)| section));
    folded.sections.push(outside(SegmentKind::Body, &order[after..]));
    folded.sections.push(outside(SegmentKind::Head, &graph.head.order));
    folded.sections.retain(|section| !section.nodes.is_empty());
    folded
}

/// The layers as ranges of the body's order. Without any, everything is before them.
fn layer_runs(graph: &Graph) -> Vec<std::ops::Range<usize>> {
    let order = &graph.body.order;
    let place = |value: ValueId| order.iter().position(|&n| graph.nodes[n].output == value);
    let streams = residual_streams(graph);
    let Some(mut start) = streams.first().filter(|s| s.name == "embedding").and_then(|s| place(s.value)).map(|at| at + 1) else {
        return Vec::new();
    };
    let mut runs = Vec::new();
    for end in streams.iter().filter(|s| s.name.ends_with("feed-forward")).filter_map(|s| place(s.value)) {
        runs.push(start..end + 1);
        start = end + 1;
    }
    runs
}

/// The groups of the nodes of a section.
pub fn memberships(graph: &Graph, segment: SegmentKind, nodes: &[NodeId]) -> Vec<Membership> {
    let mut found = vec![Membership::None; nodes.len()];
    for group in &graph.segment(segment).groups {
        let inside: Vec<usize> = (0..nodes.len()).filter(|&i| group.nodes.contains(&nodes[i])).collect();
        let Some(&first) = inside.first() else { continue };
        let began = group.nodes.first() == Some(&nodes[first]);
        let membership = if began { Membership::Began(first, group.kind.name()) } else { Membership::Continued };
        inside.iter().for_each(|&i| found[i] = membership);
    }
    found
}

/// What makes two layers one kind, node by node.
fn signature(graph: &Graph, nodes: &[NodeId]) -> Vec<String> {
    let places: BTreeMap<ValueId, usize> = nodes.iter().enumerate().map(|(i, &n)| (graph.nodes[n].output, i)).collect();
    let groups = memberships(graph, SegmentKind::Body, nodes);
    let node = |(&id, group): (&NodeId, &Membership)| {
        let node = &graph.nodes[id];
        let op = match &node.op {
            Op::KvAppend(a) => format!("kv_append {}", a.part),
            other => format!("{other:?}"),
        };
        let inputs: Vec<String> = node.inputs.iter().map(|v| places.get(v).map_or_else(|| "outside".to_owned(), usize::to_string)).collect();
        let weights: Vec<String> = node.weights.iter().map(|w| graph.weights[*w].ty.to_string()).collect();
        format!("{op} {inputs:?} {weights:?} {} {group:?}", graph.values[node.output].ty)
    };
    nodes.iter().zip(&groups).map(node).collect()
}

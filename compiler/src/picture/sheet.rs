//! The sheet: a title, which layer is of which kind, and a panel for each section, from tokens down to logits.

use std::collections::{BTreeMap, BTreeSet};

use slmc_ir::graph::{Graph, NodeId, Op, SegmentKind, ValueId, WeightId};
use slmc_passes::graph::share::stored_bytes;

use super::caption;
use super::fold::{Folded, Membership, Section, fold, memberships};
use super::layout::{Item, Layout, place};
use super::svg::{Anchor, Svg};
use crate::pipeline::human;

/// Around everything, and inside a panel.
const MARGIN: f64 = 24.0;
/// Head of a panel.
const HEADER: f64 = 44.0;
/// Between panels.
const BETWEEN: f64 = 34.0;
/// Width of a character of a line, at most on average.
const CHARACTER: f64 = 6.5;
/// Distance of lines in a box.
const LINE: f64 = 14.0;
/// Side of a cell of the strip of layers.
const CELL: f64 = 18.0;
/// Cells of a row of the strip.
const CELLS: usize = 32;
/// Colours of kinds in the style.
const COLOURS: usize = 6;

/// The picture of a graph.
pub fn draw(graph: &Graph) -> String {
    let folded = fold(graph);
    let panels: Vec<Panel<'_>> = folded.sections.iter().map(|section| Panel::new(graph, &folded, section)).collect();
    let inner = panels.iter().map(|panel| panel.width).fold(CELLS as f64 * CELL, f64::max);
    let mut svg = Svg::default();
    svg.text("title", Anchor::Start, (MARGIN, MARGIN + 14.0), &graph.name);
    let mut y = MARGIN + 36.0;
    for line in facts(graph, &folded) {
        svg.text("note", Anchor::Start, (MARGIN, y), &line);
        y += 16.0;
    }
    if folded.order.iter().any(|kind| *kind > 0) {
        y = strip(&mut svg, &folded, y + 6.0);
    }
    y += 12.0;
    let middle = MARGIN + inner / 2.0;
    let mut last = None;
    for panel in &panels {
        if let Some(end) = last {
            svg.arrow(&[(middle, end), (middle, y)]);
        }
        panel.write(&mut svg, graph, (MARGIN, y), inner);
        y += panel.height();
        last = Some(y);
        y += BETWEEN;
    }
    svg.finish(inner + 2.0 * MARGIN, y - BETWEEN + MARGIN)
}

/// What is true of the whole graph.
fn facts(graph: &Graph, folded: &Folded) -> Vec<String> {
    let weights: u64 = graph.weights.iter().map(|(_, w)| stored_bytes(&w.ty)).sum();
    let cache: u64 = graph
        .body
        .order
        .iter()
        .map(|&n| &graph.nodes[n])
        .filter(|node| matches!(node.op, Op::KvAppend(_)))
        .map(|node| {
            let ty = &graph.values[node.output].ty;
            (f64::from(ty.last().unwrap_or(0)) * ty.dtype.bits_per_element() / 8.0) as u64
        })
        .sum();
    vec![
        format!("{} layers, {} weights of {} in all", folded.order.len(), graph.weights.len(), human(weights)),
        format!("context of {} tokens in steps of {}, cache of {} a token", graph.bounds.ctx, graph.bounds.chunk, human(cache)),
        "T: tokens of a step. P: tokens in the cache before it. A box names its weights; a label beside an edge is what flows down.".to_owned(),
    ]
}

/// A row of cells, one for each layer in the order in which they are run, coloured by kind.
fn strip(svg: &mut Svg, folded: &Folded, y: f64) -> f64 {
    svg.text("note", Anchor::Start, (MARGIN, y + 8.0), "layers in order, a colour for each kind:");
    let top = y + 16.0;
    for (layer, kind) in folded.order.iter().enumerate() {
        let (x, y) = (MARGIN + (layer % CELLS) as f64 * CELL, top + (layer / CELLS) as f64 * CELL);
        svg.rect(&format!("kind{}", kind % COLOURS), (x, y), (CELL - 2.0, CELL - 2.0), 3.0);
        svg.text("digit", Anchor::Middle, (x + CELL / 2.0 - 1.0, y + 11.0), &layer.to_string());
    }
    top + folded.order.len().div_ceil(CELLS) as f64 * CELL
}

/// A section with its place for everything.
struct Panel<'a> {
    section: &'a Section,
    heading: String,
    note: String,
    kind: Option<usize>,
    captions: Vec<Vec<String>>,
    items: Vec<Item>,
    layout: Layout,
    width: f64,
}

impl<'a> Panel<'a> {
    fn new(graph: &Graph, folded: &Folded, section: &'a Section) -> Self {
        let shared = shared(graph);
        let places: BTreeMap<ValueId, usize> = section.nodes.iter().enumerate().map(|(i, &n)| (graph.nodes[n].output, i)).collect();
        let captions: Vec<Vec<String>> =
            section.nodes.iter().map(|&n| caption::lines(graph, &graph.nodes[n], &|weight| shared.contains(&weight))).collect();
        let items: Vec<Item> = section.nodes.iter().zip(&captions).map(|(&n, lines)| item(graph, n, lines, &places)).collect();
        let layout = place(&items);
        let (heading, note) = words(graph, folded, section);
        let kind = section.layers.first().map(|&layer| folded.order[layer]);
        let reach = layout.reach.1.max(-layout.reach.0) + MARGIN;
        let width = (2.0 * reach).max(7.0 * heading.chars().count() as f64 + 60.0).max(CHARACTER * note.chars().count() as f64 + 2.0 * MARGIN);
        Self { section, heading, note, kind, captions, items, layout, width }
    }

    fn height(&self) -> f64 {
        HEADER + self.layout.height
    }

    fn write(&self, svg: &mut Svg, graph: &Graph, (x, y): (f64, f64), width: f64) {
        svg.open("section", x, y);
        svg.rect("panel", (0.0, 0.0), (width, self.height()), 10.0);
        let mut left = 14.0;
        if let Some(kind) = self.kind {
            svg.rect(&format!("kind{}", kind % COLOURS), (left, 11.0), (10.0, 10.0), 2.0);
            left += 16.0;
        }
        svg.text("heading", Anchor::Start, (left, 21.0), &self.heading);
        svg.text("note", Anchor::Start, (14.0, 37.0), &self.note);
        svg.open("nodes", width / 2.0, HEADER);
        self.groups(svg, graph);
        for edge in &self.layout.edges {
            svg.arrow(&edge.points);
        }
        if let Some(&(x, top)) = self.layout.places.last() {
            let bottom = top + self.items.last().map_or(0.0, |item| item.height);
            svg.arrow(&[(x, bottom), (0.0, self.layout.height)]);
        }
        self.values(svg, graph);
        for (i, &node) in self.section.nodes.iter().enumerate() {
            self.node(svg, graph, i, node);
        }
        svg.close();
        svg.close();
    }

    /// Frames around what fusion made one launch.
    fn groups(&self, svg: &mut Svg, graph: &Graph) {
        let members = memberships(graph, self.section.segment, &self.section.nodes);
        for membership in members.iter().copied().collect::<BTreeSet<Membership>>() {
            let name = match membership {
                Membership::None => continue,
                Membership::Continued => "… of the group above",
                Membership::Began(_, name) => name,
            };
            let inside: Vec<usize> = (0..members.len()).filter(|&i| members[i] == membership).collect();
            let edge = |of: &dyn Fn(usize) -> f64, best: fn(f64, f64) -> f64, start: f64| inside.iter().map(|&i| of(i)).fold(start, best);
            let left = edge(&|i| self.layout.places[i].0 - self.items[i].width / 2.0, f64::min, f64::MAX) - 10.0;
            let right = edge(&|i| self.layout.places[i].0 + self.items[i].width / 2.0, f64::max, f64::MIN) + 10.0;
            let top = edge(&|i| self.layout.places[i].1, f64::min, f64::MAX) - 18.0;
            let bottom = edge(&|i| self.layout.places[i].1 + self.items[i].height, f64::max, f64::MIN) + 19.0;
            svg.rect("group", (left, top), (right - left, bottom - top), 8.0);
            svg.text("note", Anchor::End, (right - 8.0, top + 12.0), name);
        }
    }

    /// What flows, beside the place where it starts.
    fn values(&self, svg: &mut Svg, graph: &Graph) {
        let outputs: BTreeSet<ValueId> = self.section.nodes.iter().map(|&n| graph.nodes[n].output).collect();
        let from_above = self.section.nodes.iter().flat_map(|&n| &graph.nodes[n].inputs).find(|v| !outputs.contains(v));
        if let Some(&value) = from_above {
            svg.text("flow", Anchor::End, (-7.0, 14.0), &caption::edge(&graph.values[value].ty));
        }
        for (i, &node) in self.section.nodes.iter().enumerate() {
            let (x, top) = self.layout.places[i];
            let text = caption::edge(&graph.values[graph.nodes[node].output].ty);
            svg.text("flow", Anchor::End, (x - 7.0, top + self.items[i].height + 13.0), &text);
        }
    }

    fn node(&self, svg: &mut Svg, graph: &Graph, i: usize, id: NodeId) {
        let (node, item) = (&graph.nodes[id], &self.items[i]);
        let (x, y) = self.layout.places[i];
        svg.open("node", x - item.width / 2.0, y);
        let weights = node.weights.iter().map(|w| format!("\n{}", graph.weights[*w].name)).collect::<String>();
        svg.tooltip(&format!("{} = {}{weights}", node.output, node.op.info().name));
        svg.rect(&format!("box {}", caption::class(&node.op)), (0.0, 0.0), (item.width, item.height), 6.0);
        svg.text("name", Anchor::Middle, (item.width / 2.0, 17.0), node.op.info().name);
        for (line, text) in self.captions[i].iter().enumerate() {
            svg.text("", Anchor::Middle, (item.width / 2.0, 17.0 + LINE * (line + 1) as f64), text);
        }
        svg.close();
    }
}

fn item(graph: &Graph, id: NodeId, lines: &[String], places: &BTreeMap<ValueId, usize>) -> Item {
    let node = &graph.nodes[id];
    let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let edge = caption::edge(&graph.values[node.output].ty).chars().count();
    let own = places.get(&node.output).copied().unwrap_or(0);
    let inputs = node.inputs.iter().map(|v| places.get(v).copied().filter(|&place| place < own)).collect();
    // Half a box has room for what flows out of it.
    let width = (CHARACTER * longest as f64 + 20.0).max(2.0 * CHARACTER * edge as f64).max(120.0);
    Item { width, height: 26.0 + LINE * lines.len() as f64, inputs }
}

/// Weights that several nodes use.
fn shared(graph: &Graph) -> BTreeSet<WeightId> {
    let mut uses: BTreeMap<WeightId, usize> = BTreeMap::new();
    for node in graph.body.order.iter().chain(&graph.head.order).map(|&n| &graph.nodes[n]) {
        node.weights.iter().for_each(|w| *uses.entry(*w).or_default() += 1);
    }
    uses.into_iter().filter(|(_, uses)| *uses > 1).map(|(weight, _)| weight).collect()
}

/// Heading and note of a panel.
fn words(graph: &Graph, folded: &Folded, section: &Section) -> (String, String) {
    let bytes = |weights: &BTreeSet<WeightId>| human(weights.iter().map(|&w| stored_bytes(&graph.weights[w].ty)).sum());
    if section.layers.is_empty() {
        let weights: BTreeSet<WeightId> = section.nodes.iter().flat_map(|&n| graph.nodes[n].weights.clone()).collect();
        let is_first = section.nodes.first() == graph.body.order.first();
        let heading = match section.segment {
            SegmentKind::Head => "head: logits of the rows that are asked for",
            SegmentKind::Body if is_first => "tokens",
            SegmentKind::Body => "after the layers",
        };
        return (heading.to_owned(), format!("weights of {}", bytes(&weights)));
    }
    let count = section.layers.len();
    let word = if count == 1 { "layer" } else { "layers" };
    let heading = format!("{word} {} × {count}", caption::ranges(&section.layers)).replace(" × 1", if count == 1 { "" } else { " × 1" });
    let of = |layers: &[usize]| -> BTreeSet<WeightId> { layers.iter().flat_map(|&layer| folded.weights[layer].clone()).collect() };
    let blocks: BTreeSet<&Vec<WeightId>> = section.layers.iter().map(|&layer| &folded.weights[layer]).collect();
    let mut note = format!("weights of {} each, {} in all", bytes(&of(&section.layers[..1])), bytes(&of(&section.layers)));
    if blocks.len() < count {
        note += &format!("; {} blocks are stored, each is run {} times in a row", blocks.len(), count / blocks.len());
    }
    (heading, note)
}

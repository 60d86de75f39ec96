//! Places boxes in rows: a box stands below all that it reads, under the middle of them.
//!
//! Made for graphs that are a line with short branches. An edge that would run through boxes goes around them on the right.

use std::collections::BTreeMap;

/// Least room between two boxes of a row.
const GAP_X: f64 = 24.0;
/// Room between rows, for the edges and what is written on them.
const GAP_Y: f64 = 44.0;
/// Distance of edges that go around.
const LANE: f64 = 18.0;

/// A box to be placed.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// What it reads: an item before it, or `None` for what comes from above the section.
    pub inputs: Vec<Option<usize>>,
}

/// A line from the lower edge of a box, or the top of the section, to the upper edge of a box.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// Where it starts; `None` is the top.
    pub from: Option<usize>,
    /// The box where it ends.
    pub to: usize,
    /// Corners: start, and end last. Between them, where it goes around, the line that it follows.
    pub points: Vec<(f64, f64)>,
}

/// Placed boxes. x = 0 is the middle of the section, y = 0 its top.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layout {
    /// Middle and upper edge of each box.
    pub places: Vec<(f64, f64)>,
    /// All lines.
    pub edges: Vec<Edge>,
    /// Leftmost and rightmost place that is used.
    pub reach: (f64, f64),
    /// Height.
    pub height: f64,
}

/// Places `items`.
pub fn place(items: &[Item]) -> Layout {
    let ranks = ranks(items);
    let rows = ranks.iter().max().map_or(0, |last| last + 1);
    let mut tops = Vec::with_capacity(rows);
    let mut y = GAP_Y;
    for row in 0..rows {
        tops.push(y);
        let height = (0..items.len()).filter(|&i| ranks[i] == row).map(|i| items[i].height).fold(0.0, f64::max);
        y += height + GAP_Y;
    }
    let middles = middles(items, &ranks, rows);
    let places: Vec<(f64, f64)> = (0..items.len()).map(|i| (middles[i], tops[ranks[i]])).collect();
    let mut layout = Layout { places, edges: Vec::new(), reach: (0.0, 0.0), height: y };
    for (item, place) in items.iter().zip(&layout.places) {
        layout.reach.0 = layout.reach.0.min(place.0 - item.width / 2.0);
        layout.reach.1 = layout.reach.1.max(place.0 + item.width / 2.0);
    }
    layout.edges = edges(items, &ranks, &layout);
    let right = layout.edges.iter().flat_map(|edge| &edge.points).map(|point| point.0).fold(layout.reach.1, f64::max);
    layout.reach.1 = right;
    layout
}

fn ranks(items: &[Item]) -> Vec<usize> {
    let mut ranks: Vec<usize> = Vec::with_capacity(items.len());
    for item in items {
        ranks.push(item.inputs.iter().flatten().map(|&i| ranks[i] + 1).max().unwrap_or(0));
    }
    ranks
}

/// The middle of each box: boxes that read one thing share the place below it, others stand below the middle of what they
/// read. Then boxes of a row that touch are moved apart, around the middle of the row.
fn middles(items: &[Item], ranks: &[usize], rows: usize) -> Vec<f64> {
    let mut middles = vec![0.0; items.len()];
    for row in 0..rows {
        let mut boxes: Vec<usize> = (0..items.len()).filter(|&i| ranks[i] == row).collect();
        let mut siblings: BTreeMap<&[Option<usize>], Vec<usize>> = BTreeMap::new();
        for &i in &boxes {
            siblings.entry(&items[i].inputs).or_default().push(i);
        }
        for &i in &boxes {
            let inputs = &items[i].inputs;
            let sum: f64 = inputs.iter().map(|input| input.map_or(0.0, |input| middles[input])).sum();
            let shared = &siblings[inputs.as_slice()];
            let nth = shared.iter().position(|&s| s == i).unwrap_or(0) as f64;
            let spread = (nth - (shared.len() as f64 - 1.0) / 2.0) * (items[i].width + GAP_X);
            middles[i] = sum / (inputs.len().max(1) as f64) + spread;
        }
        boxes.sort_by(|&a, &b| middles[a].total_cmp(&middles[b]).then(a.cmp(&b)));
        let wanted: f64 = boxes.iter().map(|&i| middles[i]).sum();
        for pair in boxes.windows(2) {
            let least = middles[pair[0]] + (items[pair[0]].width + items[pair[1]].width) / 2.0 + GAP_X;
            middles[pair[1]] = middles[pair[1]].max(least);
        }
        let shift = (wanted - boxes.iter().map(|&i| middles[i]).sum::<f64>()) / boxes.len().max(1) as f64;
        boxes.iter().for_each(|&i| middles[i] += shift);
    }
    middles
}

fn edges(items: &[Item], ranks: &[usize], layout: &Layout) -> Vec<Edge> {
    let mut edges = Vec::new();
    // Where each lane on the right is taken: up to which y.
    let mut lanes: Vec<f64> = Vec::new();
    for (to, item) in items.iter().enumerate() {
        for &from in &item.inputs {
            let start = from.map_or((0.0, 0.0), |i| (layout.places[i].0, layout.places[i].1 + items[i].height));
            let end = layout.places[to];
            let first = from.map_or(0, |i| ranks[i] + 1);
            let hits = |i: usize| (first..ranks[to]).contains(&ranks[i]) && (layout.places[i].0 - start.0).abs() < items[i].width / 2.0 + 4.0;
            let points = if first >= ranks[to] {
                vec![start, end]
            } else if (0..items.len()).any(hits) {
                let lane = lanes.iter().position(|&until| until <= start.1).unwrap_or(lanes.len());
                lanes.resize(lanes.len().max(lane + 1), 0.0);
                lanes[lane] = end.1;
                let beside = (0..items.len()).filter(|&i| (first..ranks[to]).contains(&ranks[i]));
                let right = beside.map(|i| layout.places[i].0 + items[i].width / 2.0).fold(start.0, f64::max);
                let x = right + LANE * (lane + 1) as f64;
                vec![start, (x, start.1 + GAP_Y), (x, end.1 - GAP_Y), end]
            } else {
                vec![start, (start.0, end.1 - GAP_Y), end]
            };
            edges.push(Edge { from, to, points });
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(inputs: &[Option<usize>]) -> Item {
        Item { width: 100.0, height: 30.0, inputs: inputs.to_vec() }
    }

    #[test]
    fn branches_stand_side_by_side_and_join_below() {
        let items = [item(&[None]), item(&[Some(0)]), item(&[Some(0)]), item(&[Some(0)]), item(&[Some(1), Some(2), Some(3)])];
        let layout = place(&items);
        let x: Vec<f64> = layout.places.iter().map(|p| p.0).collect();
        assert_eq!(x, [0.0, -124.0, 0.0, 124.0, 0.0]);
        assert!(layout.places[0].1 < layout.places[1].1 && layout.places[1].1 == layout.places[3].1 && layout.places[3].1 < layout.places[4].1);
        assert_eq!(layout.reach, (-174.0, 174.0));
    }

    #[test]
    fn an_edge_over_boxes_goes_around_them() {
        let items = [item(&[None]), item(&[Some(0)]), item(&[None, Some(1)]), item(&[Some(2)]), item(&[Some(2), Some(3)])];
        let layout = place(&items);
        let around: Vec<&Edge> = layout.edges.iter().filter(|e| e.points.len() == 4).collect();
        assert_eq!(around.iter().map(|e| (e.from, e.to)).collect::<Vec<_>>(), [(None, 2), (Some(2), 4)]);
        // One after the other, so in one lane; right of every box.
        assert!(around.iter().all(|e| e.points[1].0 == 50.0 + LANE), "{around:?}");
    }

    #[test]
    fn boxes_of_a_row_do_not_touch() {
        // Two pairs of branches of neighbours.
        let items = [item(&[None]), item(&[None]), item(&[Some(0)]), item(&[Some(0)]), item(&[Some(1)]), item(&[Some(1)])];
        let layout = place(&items);
        let mut row: Vec<f64> = layout.places[2..].iter().map(|p| p.0).collect();
        row.sort_by(f64::total_cmp);
        assert!(row.windows(2).all(|pair| pair[1] - pair[0] >= 124.0), "{row:?}");
        assert_eq!(row.iter().sum::<f64>(), 0.0);
    }
}

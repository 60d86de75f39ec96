//! The residual stream of a graph: the value that starts as the embedding and to which every block adds.
//!
//! The places are the same in every executor of a graph, so that hidden states can be compared layer by layer.

use slmc_ir::graph::{Graph, Op, ValueId};

/// A place on the residual stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// `embedding`, `layer 0 attention`, `layer 0 feed-forward`, …, `output` (after the final norm). Layers count from 0 in
    /// the order in which they are run.
    pub name: String,
    /// The value in the body.
    pub value: ValueId,
}

/// The places in order: after the embedding, after each `add` to the stream, and the body's output.
pub fn residual_streams(graph: &Graph) -> Vec<Stream> {
    let mut streams: Vec<Stream> = Vec::new();
    let mut layers = 0usize;
    let mut attention_seen = false;
    for node in graph.body.order.iter().map(|&n| &graph.nodes[n]) {
        let on_stream = streams.last().is_some_and(|s| node.inputs.contains(&s.value));
        match node.op {
            Op::Embed => streams.push(Stream { name: "embedding".to_owned(), value: node.output }),
            // A scaled embedding is the embedding.
            Op::Scale { .. } if on_stream && streams.len() == 1 => streams[0].value = node.output,
            Op::Attention(_) => {
                layers += 1;
                attention_seen = true;
            }
            Op::Add if on_stream => {
                let part = if attention_seen { "attention" } else { "feed-forward" };
                attention_seen = false;
                streams.push(Stream { name: format!("layer {} {part}", layers.saturating_sub(1)), value: node.output });
            }
            _ => {}
        }
    }
    for &value in &graph.body.outputs {
        if streams.iter().all(|s| s.value != value) {
            streams.push(Stream { name: "output".to_owned(), value });
        }
    }
    streams
}

#[cfg(test)]
mod tests {
    use super::*;
    use slmc_ir::graph::{AttentionAttrs, Bounds, DType, Dim, KvAppendAttrs, KvPart, SegmentKind, TensorType, Weight, WeightSource};

    #[test]
    fn adds_to_the_stream_are_named_by_layer() {
        let mut g = Graph::new("g", Bounds { chunk: 4, ctx: 8 });
        g.kv_slots = 2;
        let source = WeightSource::tensor("t");
        let table = g.weights.push(Weight { name: "t".to_owned(), ty: TensorType::fixed(DType::F32, &[8, 4]), source, hash: None });
        let tokens = g.add_input(SegmentKind::Body, TensorType { dtype: DType::U32, shape: vec![Dim::T] });
        let mut node = |op: Op, inputs: &[ValueId]| {
            let weights = if op == Op::Embed { vec![table] } else { vec![] };
            g.add_inferred(SegmentKind::Body, op, inputs, &weights).unwrap()
        };
        let embedded = node(Op::Embed, &[tokens]);
        let scaled = node(Op::Scale { factor: 2.0 }, &[embedded]);
        let mut x = scaled;
        for slot in 0..2 {
            let k = node(Op::KvAppend(KvAppendAttrs { slot, part: KvPart::K }), &[x]);
            let v = node(Op::KvAppend(KvAppendAttrs { slot, part: KvPart::V }), &[x]);
            let attrs = AttentionAttrs { heads: 1, kv_heads: 1, head_dim: 4, scale: 0.5, window: None, softcap: None };
            let a = node(Op::Attention(attrs), &[x, k, v]);
            x = node(Op::Add, &[a, x]);
            // An add beside the stream is none of its places.
            let beside = node(Op::Add, &[a, a]);
            x = node(Op::Add, &[x, beside]);
        }
        let last = node(Op::Silu, &[x]);
        g.body.outputs.push(last);
        let streams = residual_streams(&g);
        let names: Vec<_> = streams.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["embedding", "layer 0 attention", "layer 0 feed-forward", "layer 1 attention", "layer 1 feed-forward", "output"]);
        assert_eq!((streams[0].value, streams[5].value), (scaled, last));
    }
}

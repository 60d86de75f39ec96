//! The graph of a decoder.
//!
//! The order of nodes is part of the contract with fusion, which groups neighbours: q, k and v of the same operand; norms
//! of q and k; their rotations; both appends; attention; o; the norm of its result; `add`; the next norm; gate and up;
//! activation; product; down; the norm of its result; `add`.

use super::{Activation, Decoder, Layer, Norm, table::Role};
use crate::import::weights::Weights;
use slmc_ir::graph::{
    AttentionAttrs, DType, Dim, Graph, KvAppendAttrs, KvPart, NormAttrs, Op, RopeAttrs, SegmentKind, TensorType, ValueId, WeightId,
};

impl Decoder {
    /// Builds both segments into `graph`, which has its name and bounds. Every tensor of [`Decoder::tensors`] is in the
    /// checkpoint with its expected shape.
    pub fn build(&self, graph: &mut Graph, weights: &mut Weights<'_>) {
        let hidden = self.sizes.hidden as u32;
        graph.kv_slots = (self.layers.len() * self.runs) as u32;

        let tokens = graph.add_input(SegmentKind::Body, TensorType { dtype: DType::U32, shape: vec![Dim::T] });
        let embed = weights.add(graph, &self.embed_name(), None);
        let mut x = graph.add_node(SegmentKind::Body, Op::Embed, &[tokens], &[embed], rows(hidden));
        if self.scaled_embedding {
            let factor = weights.rounded(&self.embed_name(), f64::from(hidden).sqrt());
            x = graph.add_node(SegmentKind::Body, Op::Scale { factor }, &[x], &[], rows(hidden));
        }
        for (index, layer) in self.layers.iter().enumerate() {
            for run in 0..self.runs {
                let mut block = Block { decoder: self, layer, weights, graph, index, slot: (index * self.runs + run) as u32 };
                x = block.attention(x);
                x = block.feed_forward(x);
            }
        }
        let last = self.norm(graph, weights, x, &self.rooted("norm"));
        graph.body.outputs.push(last);

        let states = graph.add_input(SegmentKind::Head, rows(hidden));
        let head = if self.tied { embed } else { weights.add(graph, &self.head_name(), None) };
        let vocab = self.sizes.vocab as u32;
        let mut logits = graph.add_node(SegmentKind::Head, Op::Linear, &[states], &[head], rows(vocab));
        if let Some(cap) = self.final_softcap {
            logits = graph.add_node(SegmentKind::Head, Op::Softcap { cap }, &[logits], &[], rows(vocab));
        }
        graph.head.outputs.push(logits);
    }

    /// The norm called `name` over rows of the stream.
    fn norm(&self, graph: &mut Graph, weights: &mut Weights<'_>, x: ValueId, name: &str) -> ValueId {
        let mut tensors = vec![weights.add(graph, &format!("{name}.weight"), None)];
        let op = match self.norm {
            Norm::Rms | Norm::RmsPlusOne => self.rms_norm(1),
            Norm::Layer => {
                tensors.push(weights.add(graph, &format!("{name}.bias"), None));
                Op::LayerNorm { eps: self.eps }
            }
        };
        graph.add_node(SegmentKind::Body, op, &[x], &tensors, rows(self.sizes.hidden as u32))
    }

    fn rms_norm(&self, heads: u32) -> Op {
        Op::RmsNorm(NormAttrs { eps: self.eps, heads, unit_offset: self.norm == Norm::RmsPlusOne })
    }
}

/// One decoder layer under construction.
struct Block<'a, 'w> {
    decoder: &'a Decoder,
    layer: &'a Layer,
    weights: &'a mut Weights<'w>,
    graph: &'a mut Graph,
    /// Number of the stored layer.
    index: usize,
    /// KV slot of this run.
    slot: u32,
}

impl Block<'_, '_> {
    /// `x + o(attention(…))`.
    fn attention(&mut self, x: ValueId) -> ValueId {
        let decoder = self.decoder;
        let sizes = &decoder.sizes;
        let (heads, kv_heads, head_dim) = (sizes.heads as u32, sizes.kv_heads as u32, sizes.head_dim as u32);
        let n = self.norm(x, "input_layernorm");
        let mut q = self.linear(n, Role::Q);
        let mut k = self.linear(n, Role::K);
        let v = self.linear(n, Role::V);
        if decoder.head_norms {
            q = self.head_norm(q, heads, "self_attn.q_norm.weight");
            k = self.head_norm(k, kv_heads, "self_attn.k_norm.weight");
        }
        let q = self.rope(q, heads);
        let k = self.rope(k, kv_heads);
        let k = self.append(k, KvPart::K);
        let v = self.append(v, KvPart::V);
        // A window over the whole context hides nothing.
        let window = self.layer.window.filter(|window| *window < self.graph.bounds.ctx);
        let attrs = AttentionAttrs { heads, kv_heads, head_dim, scale: decoder.scale, window, softcap: decoder.softcap };
        let a = self.node(Op::Attention(attrs), &[q, k, v], heads * head_dim);
        let mut o = self.linear(a, Role::O);
        if decoder.post_norms {
            o = self.norm(o, "post_attention_layernorm");
        }
        self.node(Op::Add, &[x, o], sizes.hidden as u32)
    }

    /// `x + down(activation(gate) · up)`.
    fn feed_forward(&mut self, x: ValueId) -> ValueId {
        let decoder = self.decoder;
        let ffn = decoder.sizes.ffn as u32;
        let n = self.norm(x, decoder.feed_forward_norm());
        let gate = self.linear(n, Role::Gate);
        let up = self.linear(n, Role::Up);
        let activation = match decoder.activation {
            Activation::Silu => Op::Silu,
            Activation::GeluTanh => Op::GeluTanh,
        };
        let act = self.node(activation, &[gate], ffn);
        let product = self.node(Op::Mul, &[act, up], ffn);
        let mut down = self.linear(product, Role::Down);
        if decoder.post_norms {
            down = self.norm(down, "post_feedforward_layernorm");
        }
        self.node(Op::Add, &[x, down], decoder.sizes.hidden as u32)
    }

    fn node(&mut self, op: Op, inputs: &[ValueId], width: u32) -> ValueId {
        self.graph.add_node(SegmentKind::Body, op, inputs, &[], rows(width))
    }

    fn width(&self, value: ValueId) -> u32 {
        self.graph.values[value].ty.last().expect("invariant: the builder's values are rows")
    }

    fn norm(&mut self, x: ValueId, part: &str) -> ValueId {
        let name = self.decoder.block_tensor(self.index, part);
        self.decoder.norm(self.graph, self.weights, x, &name)
    }

    fn head_norm(&mut self, x: ValueId, heads: u32, part: &str) -> ValueId {
        let weight = self.tensor(part, None);
        let width = self.width(x);
        self.graph.add_node(SegmentKind::Body, self.decoder.rms_norm(heads), &[x], &[weight], rows(width))
    }

    fn linear(&mut self, x: ValueId, role: Role) -> ValueId {
        let projection = self.decoder.projection(role);
        let part = (projection.rows.len() < projection.stored).then_some(projection.rows.start as u32..projection.rows.end as u32);
        let mut tensors = vec![self.tensor(&format!("{}.weight", projection.name), part.clone())];
        if projection.bias {
            tensors.push(self.tensor(&format!("{}.bias", projection.name), part));
        }
        self.graph.add_node(SegmentKind::Body, Op::Linear, &[x], &tensors, rows(projection.rows.len() as u32))
    }

    fn tensor(&mut self, part: &str, rows: Option<std::ops::Range<u32>>) -> WeightId {
        self.weights.add(self.graph, &self.decoder.block_tensor(self.index, part), rows)
    }

    fn rope(&mut self, x: ValueId, heads: u32) -> ValueId {
        let rope = &self.layer.rope;
        let attrs = RopeAttrs {
            heads,
            head_dim: self.decoder.sizes.head_dim as u32,
            rotary_dim: rope.rotary_dim as u32,
            theta: rope.theta,
            scaling: rope.scaling_at(self.graph.bounds.ctx),
        };
        let width = self.width(x);
        self.node(Op::Rope(attrs), &[x], width)
    }

    /// Caches start as f32; the precision of the cache is chosen when the model is quantized.
    fn append(&mut self, x: ValueId, part: KvPart) -> ValueId {
        let ty = TensorType { dtype: DType::F32, shape: vec![Dim::PT, Dim::Const(self.width(x))] };
        self.graph.add_node(SegmentKind::Body, Op::KvAppend(KvAppendAttrs { slot: self.slot, part }), &[x], &[], ty)
    }
}

fn rows(len: u32) -> TensorType {
    TensorType::rows(DType::F32, len)
}

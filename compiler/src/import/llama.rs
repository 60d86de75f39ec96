//! The Llama family: Llama 1 to 3, TinyLlama, SmolLM and whatever else calls itself `llama`.
//!
//! Per layer: `x += o(attention(rope(q(n)), rope(k(n)), v(n)))` with `n = rms_norm(x)`, then
//! `x += down(silu(gate(n)) · up(n))` with `n = rms_norm(x)`. Touvron et al., arXiv 2302.13971 and 2307.09288. Projections
//! are stored `[out, in]` and may have biases.

use super::{
    architecture::{Architecture, Describe, Family, ModelSummary},
    config::LlamaConfig,
    tensors::{self, Expected, Tied},
    weights::Weights,
};
use slmc_ir::graph::{AttentionAttrs, DType, Dim, Graph, KvAppendAttrs, KvPart, NormAttrs, Op, RopeAttrs, SegmentKind, TensorType, ValueId};

/// The family's entry in the table.
pub const FAMILY: Family = Family { model_type: "llama", describe: DESCRIBE };

const DESCRIBE: Describe = |config, generation| {
    let (config, warnings) = LlamaConfig::parse(config, generation)?;
    let parameters = tensors::parameters(&table(&config)).map_err(|fault| vec![fault])?;
    Ok((Box::new(Llama { config, parameters }), warnings))
};

const EMBED: &str = "model.embed_tokens.weight";
const FINAL_NORM: &str = "model.norm.weight";
const HEAD: &str = "lm_head.weight";

struct Llama {
    config: LlamaConfig,
    parameters: u64,
}

impl Architecture for Llama {
    fn summary(&self) -> ModelSummary {
        let config = &self.config;
        ModelSummary {
            family: FAMILY.model_type,
            parameters: self.parameters,
            hidden: config.hidden,
            layers: config.layers,
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            ffn: config.ffn,
            vocab: config.vocab,
            ctx_max: config.ctx_max,
            tied: config.tied,
            bos: config.bos,
            eos: config.eos.clone(),
        }
    }

    fn tensors(&self) -> Vec<Expected> {
        table(&self.config)
    }

    fn tied(&self) -> Option<Tied> {
        self.config.tied.then_some(Tied { copy: HEAD, original: EMBED })
    }

    fn build(&self, graph: &mut Graph, weights: &Weights<'_>) {
        let config = &self.config;
        let hidden = config.hidden as u32;
        graph.kv_slots = config.layers as u32;

        let tokens = graph.add_input(SegmentKind::Body, TensorType { dtype: DType::U32, shape: vec![Dim::T] });
        let embed = weights.add(graph, EMBED);
        let mut x = graph.add_node(SegmentKind::Body, Op::Embed, &[tokens], &[embed], rows(hidden));
        for layer in 0..config.layers {
            let mut block = Block { config, weights, graph, layer };
            x = block.attention(x);
            x = block.feed_forward(x);
        }
        let norm = weights.add(graph, FINAL_NORM);
        let last = graph.add_node(SegmentKind::Body, self.norm(), &[x], &[norm], rows(hidden));
        graph.body.outputs.push(last);

        let states = graph.add_input(SegmentKind::Head, rows(hidden));
        let head = if config.tied { embed } else { weights.add(graph, HEAD) };
        let logits = graph.add_node(SegmentKind::Head, Op::Linear, &[states], &[head], rows(config.vocab as u32));
        graph.head.outputs.push(logits);
    }
}

impl Llama {
    fn norm(&self) -> Op {
        norm(&self.config)
    }
}

/// One decoder layer under construction.
struct Block<'a, 'w> {
    config: &'a LlamaConfig,
    weights: &'a Weights<'w>,
    graph: &'a mut Graph,
    layer: usize,
}

impl Block<'_, '_> {
    /// `x + o(attention(…))`.
    fn attention(&mut self, x: ValueId) -> ValueId {
        let config = self.config;
        let (heads, kv_heads, head_dim) = (config.heads as u32, config.kv_heads as u32, config.head_dim as u32);
        let (q_len, kv_len) = (heads * head_dim, kv_heads * head_dim);
        let n = self.norm(x, "input_layernorm.weight");
        let q = self.linear(n, "self_attn.q_proj", q_len, config.attention_bias);
        let k = self.linear(n, "self_attn.k_proj", kv_len, config.attention_bias);
        let v = self.linear(n, "self_attn.v_proj", kv_len, config.attention_bias);
        let q = self.node(self.rope(heads), &[q], rows(q_len));
        let k = self.node(self.rope(kv_heads), &[k], rows(kv_len));
        let k = self.append(k, KvPart::K, kv_len);
        let v = self.append(v, KvPart::V, kv_len);
        let attrs = AttentionAttrs { heads, kv_heads, head_dim, scale: (1.0 / (head_dim as f64).sqrt()) as f32, window: None, softcap: None };
        let a = self.node(Op::Attention(attrs), &[q, k, v], rows(q_len));
        let o = self.linear(a, "self_attn.o_proj", config.hidden as u32, config.attention_bias);
        self.node(Op::Add, &[x, o], rows(config.hidden as u32))
    }

    /// `x + down(silu(gate) · up)`.
    fn feed_forward(&mut self, x: ValueId) -> ValueId {
        let config = self.config;
        let (hidden, ffn) = (config.hidden as u32, config.ffn as u32);
        let n = self.norm(x, "post_attention_layernorm.weight");
        let gate = self.linear(n, "mlp.gate_proj", ffn, config.mlp_bias);
        let up = self.linear(n, "mlp.up_proj", ffn, config.mlp_bias);
        let act = self.node(Op::Silu, &[gate], rows(ffn));
        let product = self.node(Op::Mul, &[act, up], rows(ffn));
        let down = self.linear(product, "mlp.down_proj", hidden, config.mlp_bias);
        self.node(Op::Add, &[x, down], rows(hidden))
    }

    fn node(&mut self, op: Op, inputs: &[ValueId], ty: TensorType) -> ValueId {
        self.graph.add_node(SegmentKind::Body, op, inputs, &[], ty)
    }

    fn norm(&mut self, x: ValueId, part: &str) -> ValueId {
        let weight = self.weights.add(self.graph, &layer_tensor(self.layer, part));
        self.graph.add_node(SegmentKind::Body, norm(self.config), &[x], &[weight], rows(self.config.hidden as u32))
    }

    fn linear(&mut self, x: ValueId, part: &str, out: u32, bias: bool) -> ValueId {
        let endings: &[&str] = if bias { &["weight", "bias"] } else { &["weight"] };
        let ids: Vec<_> = endings.iter().map(|end| self.weights.add(self.graph, &layer_tensor(self.layer, &format!("{part}.{end}")))).collect();
        self.graph.add_node(SegmentKind::Body, Op::Linear, &[x], &ids, rows(out))
    }

    fn rope(&self, heads: u32) -> Op {
        let head_dim = self.config.head_dim as u32;
        Op::Rope(RopeAttrs { heads, head_dim, rotary_dim: head_dim, theta: self.config.rope.theta, scaling: self.config.rope.scaling.clone() })
    }

    /// Caches start as f32; the precision of the cache is chosen when the model is quantized.
    fn append(&mut self, x: ValueId, part: KvPart, len: u32) -> ValueId {
        let ty = TensorType { dtype: DType::F32, shape: vec![Dim::PT, Dim::Const(len)] };
        self.node(Op::KvAppend(KvAppendAttrs { slot: self.layer as u32, part }), &[x], ty)
    }
}

fn rows(len: u32) -> TensorType {
    TensorType::rows(DType::F32, len)
}

fn norm(config: &LlamaConfig) -> Op {
    Op::RmsNorm(NormAttrs { eps: config.eps, heads: 1, unit_offset: false })
}

fn layer_tensor(layer: usize, part: &str) -> String {
    format!("model.layers.{layer}.{part}")
}

/// All tensors of a model of this configuration, in the order of use. A tied head is not among them.
fn table(config: &LlamaConfig) -> Vec<Expected> {
    let LlamaConfig { hidden, ffn, .. } = *config;
    let queries = config.heads * config.head_dim;
    let keys = config.kv_heads * config.head_dim;
    let projections = [
        ("self_attn.q_proj", queries, hidden, config.attention_bias),
        ("self_attn.k_proj", keys, hidden, config.attention_bias),
        ("self_attn.v_proj", keys, hidden, config.attention_bias),
        ("self_attn.o_proj", hidden, queries, config.attention_bias),
        ("mlp.gate_proj", ffn, hidden, config.mlp_bias),
        ("mlp.up_proj", ffn, hidden, config.mlp_bias),
        ("mlp.down_proj", hidden, ffn, config.mlp_bias),
    ];
    let mut all = Vec::new();
    let mut add = |name: String, shape: Vec<usize>| all.push(Expected { name, shape });
    add(EMBED.to_owned(), vec![config.vocab, hidden]);
    for layer in 0..config.layers {
        for norm in ["input_layernorm.weight", "post_attention_layernorm.weight"] {
            add(layer_tensor(layer, norm), vec![hidden]);
        }
        for (part, rows, columns, bias) in projections {
            add(layer_tensor(layer, &format!("{part}.weight")), vec![rows, columns]);
            if bias {
                add(layer_tensor(layer, &format!("{part}.bias")), vec![rows]);
            }
        }
    }
    add(FINAL_NORM.to_owned(), vec![hidden]);
    if !config.tied {
        add(HEAD.to_owned(), vec![config.vocab, hidden]);
    }
    all
}

//! Builds graphs of the Llama family for tests, as an importer would.

use slmc_ir::graph::{
    AttentionAttrs, Bounds, DType, Graph, KvAppendAttrs, KvPart, NormAttrs, Op, RopeAttrs, RopeScaling, SegmentKind, TensorType, ValueId, Weight,
    WeightId, WeightSource,
};

/// Geometry of a model.
#[derive(Clone)]
pub struct Llama {
    pub vocab: u32,
    pub hidden: u32,
    pub inner: u32,
    pub layers: u32,
    pub heads: u32,
    pub kv_heads: u32,
    pub head_dim: u32,
    pub eps: f32,
    pub theta: f32,
    pub scaling: RopeScaling,
    pub tied: bool,
    /// Format of linears and of the embedding.
    pub linear: DType,
    pub table: DType,
    /// Format of the cache.
    pub kv: DType,
    /// Whether activations are quantized before linears.
    pub quantize: bool,
}

impl Llama {
    /// A tiny f32 model.
    pub fn tiny() -> Self {
        Self {
            vocab: 40,
            hidden: 64,
            inner: 96,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            head_dim: 16,
            eps: 1e-5,
            theta: 10000.0,
            scaling: RopeScaling::Default,
            tied: true,
            linear: DType::F32,
            table: DType::F32,
            kv: DType::F32,
            quantize: false,
        }
    }

    /// The graph; its residual stream (embeddings, then after each layer; the last one after the final norm) as well.
    pub fn build(&self, bounds: Bounds) -> (Graph, Vec<ValueId>) {
        let mut b = Builder { g: Graph::new("llama", bounds), m: self.clone() };
        b.g.kv_slots = self.layers;
        let table = b.weight("model.embed_tokens.weight", self.table, &[self.vocab, self.hidden]);
        let tokens = b.g.add_input(SegmentKind::Body, TensorType { dtype: DType::U32, shape: vec![slmc_ir::graph::Dim::T] });
        let mut x = b.add(Op::Embed, &[tokens], &[table]);
        let mut stream = vec![x];
        for layer in 0..self.layers {
            x = b.layer(x, layer);
            stream.push(x);
        }
        x = b.norm(x, "model.norm.weight");
        *stream.last_mut().expect("embeddings are there") = x;
        b.g.body.outputs = vec![x];
        let rows = b.g.add_input(SegmentKind::Head, TensorType::rows(DType::F32, self.hidden));
        let lm_head = if self.tied { table } else { b.weight("lm_head.weight", self.table, &[self.vocab, self.hidden]) };
        let x = if self.quantize { b.g.add_inferred(SegmentKind::Head, Op::QuantizeAct, &[rows], &[]).expect("types fit") } else { rows };
        let logits = b.g.add_inferred(SegmentKind::Head, Op::Linear, &[x], &[lm_head]).expect("types fit");
        b.g.head.outputs = vec![logits];
        (b.g, stream)
    }
}

struct Builder {
    g: Graph,
    m: Llama,
}

impl Builder {
    fn weight(&mut self, name: &str, dtype: DType, shape: &[u32]) -> WeightId {
        let source = WeightSource::tensor(name);
        self.g.weights.push(Weight { name: name.to_string(), ty: TensorType::fixed(dtype, shape), source, hash: None })
    }
    fn add(&mut self, op: Op, inputs: &[ValueId], weights: &[WeightId]) -> ValueId {
        self.g.add_inferred(SegmentKind::Body, op, inputs, weights).expect("types fit")
    }
    fn norm(&mut self, x: ValueId, name: &str) -> ValueId {
        let w = self.weight(name, DType::F32, &[self.m.hidden]);
        self.add(Op::RmsNorm(NormAttrs { eps: self.m.eps, heads: 1, unit_offset: false }), &[x], &[w])
    }
    fn act(&mut self, x: ValueId) -> ValueId {
        if self.m.quantize { self.add(Op::QuantizeAct, &[x], &[]) } else { x }
    }
    fn linear(&mut self, x: ValueId, name: &str, n: u32, k: u32) -> ValueId {
        let w = self.weight(name, self.m.linear, &[n, k]);
        self.add(Op::Linear, &[x], &[w])
    }
    fn append(&mut self, x: ValueId, slot: u32, part: KvPart, width: u32) -> ValueId {
        let ty = TensorType { dtype: self.m.kv, shape: vec![slmc_ir::graph::Dim::PT, slmc_ir::graph::Dim::Const(width)] };
        self.g.add_node(SegmentKind::Body, Op::KvAppend(KvAppendAttrs { slot, part }), &[x], &[], ty)
    }
    fn layer(&mut self, x: ValueId, layer: u32) -> ValueId {
        let m = self.m.clone();
        let p = |s: &str| format!("model.layers.{layer}.{s}.weight");
        let (qn, kvn) = (m.heads * m.head_dim, m.kv_heads * m.head_dim);
        let rope = |heads| Op::Rope(RopeAttrs { heads, head_dim: m.head_dim, rotary_dim: m.head_dim, theta: m.theta, scaling: m.scaling.clone() });
        let h = self.norm(x, &p("input_layernorm"));
        let h = self.act(h);
        let q = self.linear(h, &p("self_attn.q_proj"), qn, m.hidden);
        let k = self.linear(h, &p("self_attn.k_proj"), kvn, m.hidden);
        let v = self.linear(h, &p("self_attn.v_proj"), kvn, m.hidden);
        let (q, k) = (self.add(rope(m.heads), &[q], &[]), self.add(rope(m.kv_heads), &[k], &[]));
        let (k, v) = (self.append(k, layer, KvPart::K, kvn), self.append(v, layer, KvPart::V, kvn));
        let scale = 1.0 / (m.head_dim as f32).sqrt();
        let attrs = AttentionAttrs { heads: m.heads, kv_heads: m.kv_heads, head_dim: m.head_dim, scale, window: None, softcap: None };
        let a = self.add(Op::Attention(attrs), &[q, k, v], &[]);
        let a = self.act(a);
        let o = self.linear(a, &p("self_attn.o_proj"), m.hidden, qn);
        let x = self.add(Op::Add, &[x, o], &[]);
        let h = self.norm(x, &p("post_attention_layernorm"));
        let h = self.act(h);
        let gate = self.linear(h, &p("mlp.gate_proj"), m.inner, m.hidden);
        let up = self.linear(h, &p("mlp.up_proj"), m.inner, m.hidden);
        let gate = self.add(Op::Silu, &[gate], &[]);
        let h = self.add(Op::Mul, &[gate, up], &[]);
        let h = self.act(h);
        let down = self.linear(h, &p("mlp.down_proj"), m.hidden, m.inner);
        self.add(Op::Add, &[x, down], &[])
    }
}

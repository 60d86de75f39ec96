//! Llama checkpoints of any geometry with made-up weights, as folders that the import reads.
//!
//! Weights are uniform with variance 1/K, so that values keep their size from layer to layer and logits are about 1.

use std::fs;
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value, json};

/// A checkpoint to be written.
#[derive(Debug, Clone)]
pub struct RandomLlama {
    /// For messages.
    pub name: &'static str,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Width of the feed-forward block.
    pub ffn: usize,
    /// Token ids.
    pub vocab: usize,
    /// Decoder layers.
    pub layers: usize,
    /// `max_position_embeddings`.
    pub ctx: usize,
    /// The head is the embedding.
    pub tied: bool,
    /// Biases on q, k, v and o.
    pub attention_bias: bool,
    /// Biases on gate, up and down.
    pub mlp_bias: bool,
    /// How weights are stored: F32, F16 or BF16.
    pub dtype: Dtype,
    /// Number of files.
    pub shards: usize,
    /// The value of `rope_scaling`.
    pub rope_scaling: Value,
}

impl Default for RandomLlama {
    fn default() -> Self {
        Self {
            name: "plain",
            hidden: 64,
            heads: 2,
            kv_heads: 1,
            head_dim: 32,
            ffn: 96,
            vocab: 128,
            layers: 2,
            ctx: 64,
            tied: true,
            attention_bias: false,
            mlp_bias: false,
            dtype: Dtype::F32,
            shards: 1,
            rope_scaling: Value::Null,
        }
    }
}

/// Geometries that divide badly, one odd thing or several in each.
pub fn odd_geometries() -> Vec<RandomLlama> {
    let plain = RandomLlama::default;
    vec![
        RandomLlama {
            name: "nothing divides",
            hidden: 100,
            heads: 5,
            head_dim: 20,
            ffn: 70,
            vocab: 203,
            ctx: 61,
            tied: false,
            attention_bias: true,
            ..plain()
        },
        RandomLlama { name: "one head", heads: 1, head_dim: 64, vocab: 97, mlp_bias: true, dtype: Dtype::BF16, ..plain() },
        RandomLlama { name: "heads of 24", hidden: 96, heads: 4, kv_heads: 2, head_dim: 24, ffn: 160, vocab: 256, ctx: 150, shards: 3, ..plain() },
        RandomLlama {
            name: "heads of 80",
            hidden: 160,
            head_dim: 80,
            ffn: 224,
            vocab: 300,
            tied: false,
            attention_bias: true,
            mlp_bias: true,
            dtype: Dtype::BF16,
            shards: 2,
            ..plain()
        },
        RandomLlama {
            name: "heads wider than the stream",
            kv_heads: 2,
            head_dim: 128,
            ffn: 128,
            vocab: 1001,
            dtype: Dtype::F16,
            rope_scaling: json!({"rope_type": "linear", "factor": 2.0}),
            ..plain()
        },
        RandomLlama { name: "many heads to one", hidden: 208, heads: 13, head_dim: 16, ffn: 32, vocab: 31, layers: 3, ..plain() },
        RandomLlama { name: "the least", hidden: 2, heads: 1, head_dim: 2, ffn: 1, vocab: 3, layers: 1, ctx: 40, ..plain() },
    ]
}

impl RandomLlama {
    /// Writes `config.json` and the weights into the folder `dir`.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn write(&self, dir: &Path) {
        fs::write(dir.join("config.json"), self.config().to_string()).expect("writable");
        let mut noise = Noise(self.hidden as u64 * 31 + self.vocab as u64);
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = self
            .shapes()
            .into_iter()
            .map(|(name, shape)| {
                let values = noise.tensor(&name, &shape);
                let bytes = values.iter().flat_map(|v| self.stored(*v)).collect();
                (name, shape, bytes)
            })
            .collect();
        let per_file = tensors.len().div_ceil(self.shards);
        let mut map = Map::new();
        for (i, part) in tensors.chunks(per_file).enumerate() {
            let file =
                if self.shards == 1 { "model.safetensors".to_owned() } else { format!("model-{:05}-of-{:05}.safetensors", i + 1, self.shards) };
            let views = part.iter().map(|(name, shape, bytes)| {
                map.insert(name.clone(), json!(file));
                (name.clone(), TensorView::new(self.dtype, shape.clone(), bytes).expect("shape and bytes agree"))
            });
            let bytes = safetensors::serialize(views.collect::<Vec<_>>(), None).expect("serializable");
            fs::write(dir.join(&file), bytes).expect("writable");
        }
        if self.shards > 1 {
            let bytes: usize = tensors.iter().map(|t| t.2.len()).sum();
            let index = json!({"metadata": {"total_size": bytes}, "weight_map": map});
            fs::write(dir.join("model.safetensors.index.json"), index.to_string()).expect("writable");
        }
    }

    fn config(&self) -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "hidden_size": self.hidden, "num_attention_heads": self.heads, "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim, "intermediate_size": self.ffn, "vocab_size": self.vocab,
            "num_hidden_layers": self.layers, "max_position_embeddings": self.ctx, "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "rope_scaling": self.rope_scaling, "tie_word_embeddings": self.tied,
            "attention_bias": self.attention_bias, "mlp_bias": self.mlp_bias, "bos_token_id": 1, "eos_token_id": 2,
        })
    }

    fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let (queries, keys) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let mut all = vec![("model.embed_tokens.weight".to_owned(), vec![self.vocab, self.hidden])];
        for layer in 0..self.layers {
            let mut add = |part: &str, shape: Vec<usize>| all.push((format!("model.layers.{layer}.{part}"), shape));
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                add(&format!("{norm}.weight"), vec![self.hidden]);
            }
            let projections = [
                ("self_attn.q_proj", queries, self.hidden, self.attention_bias),
                ("self_attn.k_proj", keys, self.hidden, self.attention_bias),
                ("self_attn.v_proj", keys, self.hidden, self.attention_bias),
                ("self_attn.o_proj", self.hidden, queries, self.attention_bias),
                ("mlp.gate_proj", self.ffn, self.hidden, self.mlp_bias),
                ("mlp.up_proj", self.ffn, self.hidden, self.mlp_bias),
                ("mlp.down_proj", self.hidden, self.ffn, self.mlp_bias),
            ];
            for (part, rows, columns, bias) in projections {
                add(&format!("{part}.weight"), vec![rows, columns]);
                if bias {
                    add(&format!("{part}.bias"), vec![rows]);
                }
            }
        }
        all.push(("model.norm.weight".to_owned(), vec![self.hidden]));
        if !self.tied {
            all.push(("lm_head.weight".to_owned(), vec![self.vocab, self.hidden]));
        }
        all
    }

    fn stored(&self, value: f32) -> Vec<u8> {
        match self.dtype {
            Dtype::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
            Dtype::BF16 => bf16::from_f32(value).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        }
    }

    /// Ids of a prompt that fills the context.
    pub fn prompt(&self) -> Vec<u32> {
        let mut noise = Noise(17);
        (0..self.ctx).map(|_| noise.next() % self.vocab as u32).collect()
    }
}

/// Numbers without pattern, the same everywhere.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    /// Uniform in −1 … 1.
    fn unit(&mut self) -> f32 {
        self.next() as f32 / (1u64 << 30) as f32 - 1.0
    }

    fn tensor(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        let count = shape.iter().product();
        let (middle, reach) = match shape {
            [_, columns] => (0.0, (3.0 / *columns as f32).sqrt()),
            _ if name.ends_with("bias") => (0.0, 0.2),
            _ => (1.0, 0.3),
        };
        (0..count).map(|_| middle + reach * self.unit()).collect()
    }
}

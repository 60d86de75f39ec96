//! A decoder as every family describes it: what its layers compute, and from which tensors.
//!
//! One description gives the table of tensors (`table.rs`) and the graph (`build.rs`), so the two cannot disagree. What no
//! family needs is not here: a new kind of layer is a new field, which [`Decoder::plain`] switches off.

mod build;
mod table;

use super::{config::Sizes, family::ModelSummary, rope::RopeSpec, tensors};

/// Name of the embedding under a root.
const EMBED: &str = "embed_tokens.weight";

/// A decoder. `n` is the norm before a part of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoder {
    /// Name of the family.
    pub family: &'static str,
    /// Sizes and token ids.
    pub sizes: Sizes,
    /// How often each stored layer is run, in a row; each run has its own KV slot.
    pub runs: usize,
    /// The stored layers, `sizes.blocks` of them.
    pub layers: Vec<Layer>,
    /// The kind of norm.
    pub norm: Norm,
    /// What norms add before the root.
    pub eps: f32,
    /// What attention and feed-forward give is normed before it is added.
    pub post_norms: bool,
    /// Each head of q and k is normed before its rotation, with factors that all heads share. Always a root-mean-square norm.
    pub head_norms: bool,
    /// Biases of q, k and v.
    pub qkv_bias: bool,
    /// Bias of o.
    pub o_bias: bool,
    /// Biases of gate, up and down.
    pub mlp_bias: bool,
    /// q, k and v are rows of one tensor, gate and up of another.
    pub fused: bool,
    /// Between gate and up.
    pub activation: Activation,
    /// Factor on scores.
    pub scale: f32,
    /// Soft cap on scores.
    pub softcap: Option<f32>,
    /// Soft cap on logits.
    pub final_softcap: Option<f32>,
    /// Embeddings are multiplied by sqrt(D), rounded to the format in which the embedding is stored.
    pub scaled_embedding: bool,
    /// The head is the embedding.
    pub tied: bool,
    /// Where the tensors may be; the first that the checkpoint has is it.
    pub roots: &'static [Root],
    /// Starts of names of tensors that serve something else than text and are not imported.
    pub left_out: &'static [&'static str],
}

/// Where the tensors of a language model are among those of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// What the names of all but the head start with.
    pub body: &'static str,
    /// Name of the head.
    pub head: &'static str,
}

/// What differs from layer to layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Sees the last `window` positions only, itself included.
    pub window: Option<u32>,
    /// Rotation of q and k.
    pub rope: RopeSpec,
}

/// A kind of norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// By the root of the mean square, times w.
    Rms,
    /// By the root of the mean square, times 1 + w.
    RmsPlusOne,
    /// By mean and variance, times w, plus a bias.
    Layer,
}

/// An activation of a gated feed-forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x · sigmoid(x)`.
    Silu,
    /// The tanh form of GELU.
    GeluTanh,
}

impl Decoder {
    /// The decoder of Llama without biases and with a head of its own.
    pub fn plain(sizes: Sizes, eps: f32, rope: RopeSpec) -> Self {
        Self {
            family: "",
            runs: 1,
            layers: vec![Layer { window: None, rope }; sizes.blocks],
            norm: Norm::Rms,
            eps,
            post_norms: false,
            head_norms: false,
            qkv_bias: false,
            o_bias: false,
            mlp_bias: false,
            fused: false,
            activation: Activation::Silu,
            scale: (1.0 / (sizes.head_dim as f64).sqrt()) as f32,
            softcap: None,
            final_softcap: None,
            scaled_embedding: false,
            tied: false,
            roots: &[Root { body: "model.", head: "lm_head.weight" }],
            left_out: &[],
            sizes,
        }
    }

    /// With the windows of the stored layers.
    pub fn with_windows(mut self, windows: &[Option<u32>]) -> Self {
        for (layer, window) in self.layers.iter_mut().zip(windows) {
            layer.window = *window;
        }
        self
    }

    /// Settles on the first root of which the checkpoint has the embedding.
    pub fn choose_root(&mut self, has: impl Fn(&str) -> bool) {
        let found = self.roots.iter().position(|root| has(&format!("{}{EMBED}", root.body))).unwrap_or(0);
        self.roots = self.roots.get(found..=found).unwrap_or(self.roots);
    }

    /// What the rest of the compiler wants to know.
    pub fn summary(&self) -> ModelSummary {
        let sizes = &self.sizes;
        ModelSummary {
            family: self.family,
            parameters: tensors::parameters(&self.tensors()).unwrap_or(u64::MAX),
            hidden: sizes.hidden,
            layers: sizes.blocks * self.runs,
            blocks: sizes.blocks,
            heads: sizes.heads,
            kv_heads: sizes.kv_heads,
            head_dim: sizes.head_dim,
            ffn: sizes.ffn,
            vocab: sizes.vocab,
            ctx_max: sizes.ctx_max,
            tied: self.tied,
            bos: sizes.bos,
            eos: sizes.eos.clone(),
        }
    }

    /// In words, what a context of `ctx` tokens decided: each thing once.
    pub fn decided_at(&self, ctx: u32) -> Vec<String> {
        let mut all: Vec<String> = self.layers.iter().filter_map(|layer| layer.rope.decided_at(ctx)).collect();
        all.dedup();
        all
    }
}

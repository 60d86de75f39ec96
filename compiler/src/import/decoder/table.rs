//! The tensors of a decoder: names and shapes as Hugging Face stores them.

use super::{Decoder, EMBED, Norm};
use crate::import::tensors::{Expected, Tied};
use std::ops::Range;

/// The parts of a decoder's layer that multiply by a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Queries.
    Q,
    /// Keys.
    K,
    /// Values.
    V,
    /// From heads to the stream.
    O,
    /// What is activated.
    Gate,
    /// What the activated is multiplied with.
    Up,
    /// From the feed-forward to the stream.
    Down,
}

/// Where a matrix `[rows, columns]` of a layer is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Projection {
    /// Name of the tensor within the layer, without `.weight` and `.bias`.
    pub name: &'static str,
    /// Rows of the tensor.
    pub stored: usize,
    /// The rows that are this matrix.
    pub rows: Range<usize>,
    /// Columns.
    pub columns: usize,
    /// There is a bias.
    pub bias: bool,
}

const ROLES: [Role; 7] = [Role::Q, Role::K, Role::V, Role::O, Role::Gate, Role::Up, Role::Down];

impl Decoder {
    /// Every tensor that the model needs, in the order of use. A tied head is not among them.
    pub fn tensors(&self) -> Vec<Expected> {
        let mut all = vec![Expected { name: self.embed_name(), shape: vec![self.sizes.vocab, self.sizes.hidden] }];
        for block in 0..self.sizes.blocks {
            self.block_tensors(block, &mut all);
        }
        self.norm_tensors(&self.rooted("norm"), self.sizes.hidden, &mut all);
        if !self.tied {
            all.push(Expected { name: self.head_name(), shape: vec![self.sizes.vocab, self.sizes.hidden] });
        }
        all
    }

    /// The tied pair, if the model has one.
    pub fn tied_pair(&self) -> Option<Tied> {
        self.tied.then(|| Tied { copy: self.head_name(), original: self.embed_name() })
    }

    /// The stored tensors of which several matrices are made, with the rows of each.
    pub fn cuts(&self) -> Vec<(String, Vec<Range<usize>>)> {
        let mut cuts: Vec<(String, Vec<Range<usize>>)> = Vec::new();
        for block in 0..self.sizes.blocks {
            for projection in ROLES.map(|role| self.projection(role)).into_iter().filter(|p| p.rows.len() < p.stored) {
                let name = self.block_tensor(block, &format!("{}.weight", projection.name));
                match cuts.last_mut().filter(|last| last.0 == name) {
                    Some((_, rows)) => rows.push(projection.rows),
                    None => cuts.push((name, vec![projection.rows])),
                }
            }
        }
        cuts
    }

    /// Where the matrix of a role is.
    pub(super) fn projection(&self, role: Role) -> Projection {
        let sizes = &self.sizes;
        let (queries, keys, ffn, hidden) = (sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim, sizes.ffn, sizes.hidden);
        let whole = |name, rows, columns, bias| Projection { name, stored: rows, rows: 0..rows, columns, bias };
        let qkv = |rows| Projection { name: "self_attn.qkv_proj", stored: queries + 2 * keys, rows, columns: hidden, bias: self.qkv_bias };
        let gated = |rows| Projection { name: "mlp.gate_up_proj", stored: 2 * ffn, rows, columns: hidden, bias: self.mlp_bias };
        match role {
            Role::Q if self.fused => qkv(0..queries),
            Role::K if self.fused => qkv(queries..queries + keys),
            Role::V if self.fused => qkv(queries + keys..queries + 2 * keys),
            Role::Gate if self.fused => gated(0..ffn),
            Role::Up if self.fused => gated(ffn..2 * ffn),
            Role::Q => whole("self_attn.q_proj", queries, hidden, self.qkv_bias),
            Role::K => whole("self_attn.k_proj", keys, hidden, self.qkv_bias),
            Role::V => whole("self_attn.v_proj", keys, hidden, self.qkv_bias),
            Role::O => whole("self_attn.o_proj", hidden, queries, self.o_bias),
            Role::Gate => whole("mlp.gate_proj", ffn, hidden, self.mlp_bias),
            Role::Up => whole("mlp.up_proj", ffn, hidden, self.mlp_bias),
            Role::Down => whole("mlp.down_proj", hidden, ffn, self.mlp_bias),
        }
    }

    /// Name of the norm before the feed-forward.
    pub(super) fn feed_forward_norm(&self) -> &'static str {
        // Where attention's result is normed, that norm has the name.
        if self.post_norms { "pre_feedforward_layernorm" } else { "post_attention_layernorm" }
    }

    /// Name of the embedding.
    pub(super) fn embed_name(&self) -> String {
        self.rooted(EMBED)
    }

    /// Name of the head.
    pub(super) fn head_name(&self) -> String {
        self.roots.first().map_or_else(String::new, |root| root.head.to_owned())
    }

    /// Name of `part` outside the layers.
    pub(super) fn rooted(&self, part: &str) -> String {
        format!("{}{part}", self.root())
    }

    /// Name of `part` of a stored layer.
    pub(super) fn block_tensor(&self, block: usize, part: &str) -> String {
        format!("{}layers.{block}.{part}", self.root())
    }

    fn root(&self) -> &'static str {
        self.roots.first().map_or("", |root| root.body)
    }

    fn block_tensors(&self, block: usize, all: &mut Vec<Expected>) {
        let mut norms = vec!["input_layernorm", "post_attention_layernorm"];
        if self.post_norms {
            norms.extend(["pre_feedforward_layernorm", "post_feedforward_layernorm"]);
        }
        for norm in norms {
            self.norm_tensors(&self.block_tensor(block, norm), self.sizes.hidden, all);
        }
        if self.head_norms {
            for norm in ["self_attn.q_norm.weight", "self_attn.k_norm.weight"] {
                all.push(Expected { name: self.block_tensor(block, norm), shape: vec![self.sizes.head_dim] });
            }
        }
        for projection in ROLES.map(|role| self.projection(role)) {
            if projection.rows.start > 0 {
                // Stored with the one that starts at row 0.
                continue;
            }
            all.push(Expected {
                name: self.block_tensor(block, &format!("{}.weight", projection.name)),
                shape: vec![projection.stored, projection.columns],
            });
            if projection.bias {
                all.push(Expected { name: self.block_tensor(block, &format!("{}.bias", projection.name)), shape: vec![projection.stored] });
            }
        }
    }

    fn norm_tensors(&self, name: &str, len: usize, all: &mut Vec<Expected>) {
        let endings: &[&str] = if self.norm == Norm::Layer { &["weight", "bias"] } else { &["weight"] };
        all.extend(endings.iter().map(|end| Expected { name: format!("{name}.{end}"), shape: vec![len] }));
    }
}

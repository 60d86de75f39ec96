//! Causal grouped-query attention over a whole sequence.
//!
//! One KV head is computed at a time with all query heads that share it, so that the scores take `[G, T, T]`, not
//! `[H, T, T]`.

use burn_tensor::{Bool, Device, Tensor, TensorData, activation};
use slmc_ir::graph::AttentionAttrs;

use super::ops::softcap;

/// `q` `[T, heads · head_dim]`, `k` and `v` `[T, kv_heads · head_dim]` → `[T, heads · head_dim]`.
pub(super) fn attention(q: Tensor<2>, k: Tensor<2>, v: Tensor<2>, attrs: &AttentionAttrs) -> Tensor<2> {
    let [rows, _] = q.dims();
    let (heads, kv_heads, dim) = (attrs.heads as usize, attrs.kv_heads as usize, attrs.head_dim as usize);
    let shared = heads / kv_heads;
    let hidden = hidden_pairs(rows, attrs.window, &q.device());
    let mut outputs = Vec::with_capacity(kv_heads);
    for head in 0..kv_heads {
        let part = |x: &Tensor<2>, heads: usize| x.clone().narrow(1, head * heads * dim, heads * dim).reshape([rows, heads, dim]).swap_dims(0, 1);
        let (q, k, v) = (part(&q, shared), part(&k, 1), part(&v, 1));
        let (k, v) = (k.repeat_dim(0, shared), v.repeat_dim(0, shared));
        let mut scores = q.matmul(k.swap_dims(1, 2)) * attrs.scale;
        if let Some(cap) = attrs.softcap {
            scores = softcap(scores, cap);
        }
        let mask = hidden.clone().expand([shared, rows, rows]);
        let weights = activation::softmax(scores.mask_fill(mask, f32::NEG_INFINITY), 2);
        outputs.push(weights.matmul(v).swap_dims(0, 1).reshape([rows, shared * dim]));
    }
    Tensor::cat(outputs, 1)
}

/// `[1, T, T]`: true where query row t must not see key row s, that is where s > t or s lies `window` or more before t.
fn hidden_pairs(rows: usize, window: Option<u32>, device: &Device) -> Tensor<3, Bool> {
    let window = window.map_or(usize::MAX, |w| w as usize);
    let pairs: Vec<bool> = (0..rows).flat_map(|t| (0..rows).map(move |s| s > t || t - s >= window)).collect();
    Tensor::from_data(TensorData::new(pairs, [1, rows, rows]), device)
}

//! `attention`, straight from its definition, softmax in f64.

use super::linear::dot;
use crate::graph::AttentionAttrs;

/// Rows `q` `[T, heads · head_dim]` over the cached rows `k` and `v` `[P+T, kv_heads · head_dim]`; `cached` is P.
pub(super) fn attention<'a>(q: &[f32], k: &'a [f32], v: &'a [f32], cached: usize, a: &AttentionAttrs) -> Vec<f32> {
    let (heads, kv_heads, dim) = (a.heads as usize, a.kv_heads as usize, a.head_dim as usize);
    let (q_width, kv_width) = (heads * dim, kv_heads * dim);
    let mut out = vec![0.0f32; q.len()];
    for (t, (q_row, out_row)) in q.chunks_exact(q_width).zip(out.chunks_exact_mut(q_width)).enumerate() {
        let end = cached + t + 1;
        let start = a.window.map_or(0, |w| end.saturating_sub(w as usize));
        for h in 0..heads {
            let columns = h / (heads / kv_heads) * dim..(h / (heads / kv_heads) + 1) * dim;
            let query = &q_row[h * dim..(h + 1) * dim];
            let row = |part: &'a [f32], j: usize| &part[j * kv_width..][columns.clone()];
            let mut scores: Vec<f64> = (start..end)
                .map(|j| {
                    let score = f64::from(a.scale) * dot(query, row(k, j));
                    a.softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
                })
                .collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            scores.iter_mut().for_each(|s| *s = (*s - most).exp());
            let total: f64 = scores.iter().sum();
            let mut sums = vec![0.0f64; dim];
            for (j, score) in (start..end).zip(&scores) {
                for (sum, value) in sums.iter_mut().zip(row(v, j)) {
                    *sum += score * f64::from(*value);
                }
            }
            for (out, sum) in out_row[h * dim..(h + 1) * dim].iter_mut().zip(sums) {
                *out = (sum / total) as f32;
            }
        }
    }
    out
}

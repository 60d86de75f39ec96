//! Ops that work on rows or elements on their own: activations, norms, rope, quantization.

use super::Tensor;
use crate::graph::{NormAttrs, RopeAttrs};
use crate::quant::{ACT_GROUP, quantize_act_group};

/// `f` of each element, computed in f64.
pub(super) fn map(x: &[f32], f: impl Fn(f64) -> f64) -> Vec<f32> {
    x.iter().map(|&x| f(f64::from(x)) as f32).collect()
}

/// `f` of each pair of elements, in f32.
pub(super) fn zip(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()
}

/// `0.5 · x · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))`.
pub(super) fn gelu_tanh(x: f64) -> f64 {
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
    0.5 * x * (1.0 + inner.tanh())
}

/// Norms each part of `weight.len()` columns on its own.
pub(super) fn rms_norm(x: &[f32], weight: &[f32], a: &NormAttrs) -> Vec<f32> {
    let offset = if a.unit_offset { 1.0 } else { 0.0 };
    let mut out = Vec::with_capacity(x.len());
    for part in x.chunks_exact(weight.len()) {
        let square: f64 = part.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let factor = 1.0 / (square / part.len() as f64 + f64::from(a.eps)).sqrt();
        out.extend(part.iter().zip(weight).map(|(&x, &w)| (f64::from(x) * factor * (f64::from(w) + offset)) as f32));
    }
    out
}

/// Norms each row of `weight.len()` columns by its mean and variance.
pub(super) fn layer_norm(x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(weight.len()) {
        let count = row.len() as f64;
        let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
        let factor = 1.0 / (variance + f64::from(eps)).sqrt();
        out.extend(row.iter().enumerate().map(|(i, &x)| {
            let normed = (f64::from(x) - mean) * factor * f64::from(weight[i]);
            (normed + bias.map_or(0.0, |b| f64::from(b[i]))) as f32
        }));
    }
    out
}

/// Rotates the leading `rotary_dim` dims of every head; row t is position `first + t`.
pub(super) fn rope(x: &[f32], width: usize, first: usize, a: &RopeAttrs) -> Vec<f32> {
    let mut out = x.to_vec();
    let half = a.rotary_dim as usize / 2;
    for (t, row) in out.chunks_exact_mut(width).enumerate() {
        let rotation = a.rotation((first + t) as u32);
        for head in row.chunks_exact_mut(a.head_dim as usize) {
            for (i, &(cos, sin)) in rotation.iter().enumerate() {
                let (cos, sin) = (f64::from(cos), f64::from(sin));
                let (low, high) = (f64::from(head[i]), f64::from(head[i + half]));
                head[i] = (low * cos - high * sin) as f32;
                head[i + half] = (high * cos + low * sin) as f32;
            }
        }
    }
    out
}

/// Rows to a8g32.
pub(super) fn quantize(x: &[f32], width: usize) -> Tensor {
    let mut codes = vec![0i8; x.len()];
    let groups = x.as_chunks::<ACT_GROUP>().0.iter().zip(codes.as_chunks_mut::<ACT_GROUP>().0);
    let (scales, sums) = groups.map(|(x, codes)| quantize_act_group(x, codes)).unzip();
    Tensor::Quantized { width, codes, scales, sums }
}

//! `linear`: f32 rows with any weight, a8g32 rows with quantized weights.

use super::weights::{Data, Loaded};
use super::{Tensor, unreachable_type};
use crate::quant::ACT_GROUP;

/// `x · wᵀ + bias` for rows `[T, K]` and a weight `[N, K]`; the result is `[T, N]`.
pub(super) fn linear(x: &Tensor, w: &Loaded, bias: Option<&[f32]>) -> Vec<f32> {
    let rows = match x {
        Tensor::Rows { width, data } => data.len() / width,
        Tensor::Quantized { width, codes, .. } => codes.len() / width,
        Tensor::Tokens(_) | Tensor::Slot(..) => unreachable_type(),
    };
    let mut out = vec![0.0f32; rows * w.rows];
    for n in 0..w.rows {
        let bias = bias.map_or(0.0, |b| f64::from(b[n]));
        match (x, &w.data) {
            (Tensor::Rows { width, data }, _) => {
                let weight = w.row(n);
                for (t, row) in data.chunks_exact(*width).enumerate() {
                    out[t * w.rows + n] = (dot(row, &weight) + bias) as f32;
                }
            }
            (Tensor::Quantized { width, codes, scales, .. }, Data::Groups { group, codes: w_codes, scales: w_scales }) => {
                let weight = &w_codes[n * width..(n + 1) * width];
                let weight_scales = &w_scales[n * width / group..(n + 1) * width / group];
                for (t, row) in codes.chunks_exact(*width).enumerate() {
                    let scales = &scales[t * width / ACT_GROUP..(t + 1) * width / ACT_GROUP];
                    let mut sum = 0.0f64;
                    for (g, (a, b)) in row.chunks_exact(ACT_GROUP).zip(weight.chunks_exact(ACT_GROUP)).enumerate() {
                        let products: i32 = a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
                        sum += f64::from(scales[g]) * weight_scales[g * ACT_GROUP / group].to_f64() * f64::from(products);
                    }
                    out[t * w.rows + n] = (sum + bias) as f32;
                }
            }
            _ => unreachable_type(),
        }
    }
    out
}

/// A dot product in f64, where each product is exact.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0f64; 4];
    let (parts_a, rest_a) = a.as_chunks::<4>();
    let (parts_b, rest_b) = b.as_chunks::<4>();
    for (a, b) in parts_a.iter().zip(parts_b) {
        for i in 0..4 {
            sums[i] += f64::from(a[i]) * f64::from(b[i]);
        }
    }
    let rest: f64 = rest_a.iter().zip(rest_b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    (sums[0] + sums[2]) + (sums[1] + sums[3]) + rest
}

//! Rotary position embedding in halves style, with its frequencies.
//!
//! Frequencies are worked out here from the attributes, in f32 as Hugging Face does, and not taken from the IR's own
//! table, which every other executor uses.

use burn_tensor::{Device, Tensor, TensorData};
use slmc_ir::graph::{RopeAttrs, RopeScaling};

/// Rotates the first `rotary_dim` dims of every head of `x` `[T, heads · head_dim]`; row t is at position t.
pub(super) fn rope(x: Tensor<2>, attrs: &RopeAttrs) -> Tensor<2> {
    let [rows, k] = x.dims();
    let (heads, dim, rotary) = (attrs.heads as usize, attrs.head_dim as usize, attrs.rotary_dim as usize);
    let half = rotary / 2;
    let angles = angles(rows, attrs, &x.device());
    let magnitude = attrs.scaling.magnitude();
    let (cos, sin) = (angles.clone().cos() * magnitude, angles.sin() * magnitude);
    let x = x.reshape([rows, heads, dim]);
    let (a, b) = (x.clone().narrow(2, 0, half), x.clone().narrow(2, half, half));
    let mut parts = vec![a.clone() * cos.clone() - b.clone() * sin.clone(), b * cos + a * sin];
    if dim > rotary {
        parts.push(x.narrow(2, rotary, dim - rotary));
    }
    Tensor::cat(parts, 2).reshape([rows, k])
}

/// `[T, 1, rotary_dim / 2]`: position times frequency.
fn angles(rows: usize, attrs: &RopeAttrs, device: &Device) -> Tensor<3> {
    let frequencies = frequencies(attrs);
    let half = frequencies.len();
    let positions: Vec<f32> = (0..rows).map(|p| p as f32).collect();
    let positions = Tensor::<3>::from_data(TensorData::new(positions, [rows, 1, 1]), device);
    positions * Tensor::<3>::from_data(TensorData::new(frequencies, [1, 1, half]), device)
}

/// `theta^(−2i / rotary_dim)`, scaled.
fn frequencies(attrs: &RopeAttrs) -> Vec<f32> {
    let base = (0..attrs.rotary_dim).step_by(2).map(|i| 1.0 / attrs.theta.powf(i as f32 / attrs.rotary_dim as f32));
    match attrs.scaling {
        RopeScaling::Default => base.collect(),
        RopeScaling::PerPair { ref divisors, .. } => base.zip(divisors).map(|(f, divisor)| f / divisor).collect(),
        RopeScaling::Linear { factor } => base.map(|f| f / factor).collect(),
        RopeScaling::Llama3 { factor, low, high, original } => base
            .map(|f| {
                let turns = original as f32 * f / (2.0 * std::f32::consts::PI);
                // 1 for short waves, which stay; 0 for long ones, which are stretched; between them a blend.
                let keep = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                keep * f + (1.0 - keep) * f / factor
            })
            .collect(),
    }
}

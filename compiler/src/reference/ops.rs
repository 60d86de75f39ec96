//! The ops of the graph IR as burn operations, all but rope and attention. Rows are `[T, K]`.

use burn_tensor::{Device, Int, Tensor, TensorData, activation};
use slmc_ir::graph::{DType, NormAttrs};
use slmc_ir::quant::CacheRows;

/// Rows of `table` `[V, D]` by token id, each of which is below V: `[T, D]`.
pub(super) fn embed(tokens: &[u32], table: Tensor<2>, device: &Device) -> Tensor<2> {
    let ids: Vec<i64> = tokens.iter().map(|&t| i64::from(t)).collect();
    let count = ids.len();
    table.select(0, Tensor::<1, Int>::from_data(TensorData::new(ids, [count]), device))
}

/// `x · wᵀ + bias`, `weight` `[N, K]`, `bias` `[N]`.
pub(super) fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let y = x.matmul(weight.transpose());
    match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    }
}

/// Root-mean-square norm of each of the heads of a row; `weight` `[K / heads]`.
pub(super) fn rms_norm(x: Tensor<2>, weight: Tensor<1>, attrs: &NormAttrs) -> Tensor<2> {
    let [rows, k] = x.dims();
    let heads = attrs.heads as usize;
    let x = x.reshape([rows, heads, k / heads]);
    let mean = (x.clone() * x.clone()).mean_dim(2);
    let weight = if attrs.unit_offset { weight + 1.0 } else { weight };
    let normed = x / (mean + attrs.eps).sqrt() * weight.unsqueeze();
    normed.reshape([rows, k])
}

/// Norm of a row by its mean and variance; `weight` and `bias` `[K]`.
pub(super) fn layer_norm(x: Tensor<2>, weight: Tensor<1>, bias: Option<Tensor<1>>, eps: f32) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    let normed = centred / (variance + eps).sqrt() * weight.unsqueeze();
    match bias {
        Some(bias) => normed + bias.unsqueeze(),
        None => normed,
    }
}

/// What a KV slot of format `dtype` keeps of `x`, whose rows are divided as `rows` says.
pub(super) fn cached(x: Tensor<2>, rows: CacheRows, dtype: DType, device: &Device) -> Tensor<2> {
    match dtype {
        DType::Q8 => {
            let shape = x.dims();
            let mut values: Vec<f32> = x.into_data().try_to_vec().expect("invariant: activations are f32");
            values.chunks_mut(shape[1]).for_each(|row| rows.round(dtype, row));
            Tensor::from_data(TensorData::new(values, shape), device)
        }
        DType::F16 => x.cast(burn_tensor::DType::F16).cast(burn_tensor::DType::F32),
        DType::Bf16 => x.cast(burn_tensor::DType::BF16).cast(burn_tensor::DType::F32),
        _ => x,
    }
}

/// `x / (1 + exp(−x))`.
pub(super) fn silu(x: Tensor<2>) -> Tensor<2> {
    activation::silu(x)
}

/// The tanh form of GELU.
pub(super) fn gelu_tanh(x: Tensor<2>) -> Tensor<2> {
    activation::gelu_approximate(x)
}

/// `cap · tanh(x / cap)`.
pub(super) fn softcap<const D: usize>(x: Tensor<D>, cap: f32) -> Tensor<D> {
    (x / cap).tanh() * cap
}

/// What a8g32 keeps of `x`: per group of 32, codes `round(x · (127 / max))` to nearest even, times `max / 127`.
///
/// The codes are never made integers: a product with them is the same up to the rounding of f32.
pub(super) fn quantized_act(x: Tensor<2>) -> Tensor<2> {
    let [rows, k] = x.dims();
    let x = x.reshape([rows, k / 32, 32]);
    let max = x.clone().abs().max_dim(2);
    // A group of zeros has codes and scale 0; any divisor will do.
    let divisor = max.clone().mask_fill(max.clone().equal_scalar(0.0), 1.0);
    // One division, as the format says: a product with a rounded 1 / max would break ties otherwise.
    let codes = (x * (divisor.full_like(127.0) / divisor)).round().clamp(-127.0, 127.0);
    (codes * (max / 127.0)).reshape([rows, k])
}

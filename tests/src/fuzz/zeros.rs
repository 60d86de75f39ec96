//! Weights for models that are imported and never run.

use safetensors::tensor::{Dtype, TensorView};
use slmc::import::Decoder;

/// A safetensors file with every tensor of `decoder`, all zeros. `dtype` is F32, F16 or BF16.
pub(super) fn zeros(decoder: &Decoder, dtype: Dtype) -> Vec<u8> {
    let width = if dtype == Dtype::F32 { 4 } else { 2 };
    let tensors = decoder.tensors();
    let longest = tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).max().unwrap_or(0);
    let data = vec![0; width * longest];
    let views = tensors.iter().map(|tensor| {
        let bytes = &data[..width * tensor.shape.iter().product::<usize>()];
        (tensor.name.as_str(), TensorView::new(dtype, tensor.shape.clone(), bytes).expect("shape and bytes agree"))
    });
    safetensors::serialize(views.collect::<Vec<_>>(), None).expect("serializable")
}

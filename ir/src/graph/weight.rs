//! Weights: named tensors that live outside the graph and are read lazily.

use super::ty::TensorType;

/// A weight of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// A name for people: the checkpoint's tensor name, or the first of several that share it.
    pub name: String,
    /// The format and shape it is *stored* in. Quantizing a model is changing this dtype: the value of the weight is then
    /// what that format represents after quantizing the source.
    pub ty: TensorType,
    /// Where its numbers come from.
    pub source: WeightSource,
    /// SHA-256 of the source's bytes, dtype and shape; `None` until the checkpoint was scanned. Sharing is by this hash.
    pub hash: Option<[u8; 32]>,
}

/// Where a weight's numbers come from.
#[derive(Debug, Clone, PartialEq)]
pub enum WeightSource {
    /// A tensor of the checkpoint, or some of its rows.
    Tensor {
        /// Its name there.
        name: String,
        /// The rows (elements of a 1-D tensor) that are the weight; `None` is all.
        rows: Option<std::ops::Range<u32>>,
    },
}

impl WeightSource {
    /// All of a tensor.
    pub fn tensor(name: impl Into<String>) -> Self {
        WeightSource::Tensor { name: name.into(), rows: None }
    }
}

/// Gives the interpreter and the packer the source values of weights.
pub trait WeightProvider: Sync {
    /// Rows `rows` of the weight's source as f32, row-major; a 1-D weight `[K]` is one row. Unquantized: the stored dtype
    /// of [`Weight::ty`] is *not* applied. `Err` says in words what could not be read.
    fn rows(&self, weight: &Weight, rows: std::ops::Range<u32>) -> Result<Vec<f32>, String>;
}

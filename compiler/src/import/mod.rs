//! Import: from a checkpoint folder to a graph and the weights that it names.
//!
//! A checkpoint is taken for hostile until checked: no length, offset or size in it is believed, nothing in it is
//! executed, and all that is wrong is reported at once. Weights stay on disk and are read piece by piece.
//!
//! A new family is one file beside `llama.rs` and one line in [`FAMILIES`].

pub mod checkpoint;
pub mod config;
mod decoder;
mod family;
mod fault;
mod fields;
mod folder;
mod header;
mod json_file;
mod layers;
mod model;
mod options;
mod rope;
mod scaling;
mod scan;
mod stored;
mod tensors;
mod weights;

mod gemma2;
mod gemma3;
mod llama;
mod mobilellm;
mod phi3;
mod qwen2;
mod qwen3;
mod stablelm;

pub use checkpoint::{Checkpoint, TensorInfo};
pub use config::{Config, Sizes};
pub use decoder::{Activation, Decoder, Layer, Norm, Root};
pub use family::{Described, Family, ModelSummary, Nested};
pub use fault::{Fault, ImportError, Warning};
pub use fields::Fields;
pub use model::{ImportOptions, Imported, describe, import};
pub use rope::RopeSpec;
pub use scaling::{LongRope, Scaling};
pub use scan::TensorDigest;
pub use stored::{NonFinite, StoredDtype};
pub use tensors::{Expected, Tied};
pub use weights::Weights;

/// Every family that can be imported.
pub static FAMILIES: &[Family] =
    &[llama::FAMILY, mobilellm::FAMILY, qwen2::FAMILY, qwen3::FAMILY, gemma2::FAMILY, gemma3::FAMILY, phi3::FAMILY, stablelm::FAMILY];

/// The model types of all families, for messages.
fn supported() -> String {
    FAMILIES.iter().flat_map(|family| family.model_types).copied().collect::<Vec<_>>().join(", ")
}

//! Import: from a checkpoint folder to a graph and the weights that it names.
//!
//! A checkpoint is taken for hostile until checked: no length, offset or size in it is believed, nothing in it is
//! executed, and all that is wrong is reported at once. Weights stay on disk and are read piece by piece.
//!
//! A new family is one file beside `llama.rs` and one line in [`FAMILIES`].

mod architecture;
pub mod checkpoint;
pub mod config;
mod fault;
mod fields;
mod folder;
mod header;
mod json_file;
mod llama;
mod model;
mod options;
mod rope;
mod scan;
mod stored;
mod tensors;
mod weights;

pub use architecture::{Architecture, Describe, Described, Family, ModelSummary};
pub use checkpoint::{Checkpoint, TensorInfo};
pub use config::LlamaConfig;
pub use fault::{Fault, ImportError, Warning};
pub use model::{ImportOptions, Imported, import};
pub use rope::RopeSpec;
pub use scan::TensorDigest;
pub use stored::{NonFinite, StoredDtype};
pub use tensors::{Expected, Tied};
pub use weights::Weights;

/// Every family that can be imported.
pub static FAMILIES: &[Family] = &[llama::FAMILY];

/// The model types of all families, for messages.
fn supported() -> String {
    FAMILIES.iter().map(|family| family.model_type).collect::<Vec<_>>().join(", ")
}

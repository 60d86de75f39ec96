//! Import: from a checkpoint folder to a graph and the weights that it names.
//!
//! A checkpoint is taken for hostile until checked: no length, offset or size in it is believed, nothing in it is
//! executed, and all that is wrong is reported at once. Weights stay on disk and are read piece by piece.

pub mod checkpoint;
pub mod config;
mod fault;
mod fields;
mod folder;
mod header;
mod json_file;
mod options;
mod rope;
mod scan;
mod stored;
pub mod tensors;

pub use checkpoint::{Checkpoint, TensorInfo};
pub use config::LlamaConfig;
pub use fault::{Fault, ImportError, Warning};
pub use rope::{RopeScaling, RopeSpec};
pub use scan::TensorDigest;
pub use stored::{NonFinite, StoredDtype};

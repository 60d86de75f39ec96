//! Bundles: the folder that a compile leaves and a device runs.
//!
//! [`manifest`] is what `manifest.json` says, [`read`] checks a folder against it before any of its code is loaded,
//! [`stage`] puts a new folder in place in one step, [`plan_bin`] writes the plan for the stub, [`shaders`] describes the kernels of
//! GPUs, [`kernel_work`] what kernels take, [`weights`] packs.

pub mod digest;
mod error;
pub mod kernel_work;
pub mod manifest;
pub mod plan_bin;
pub mod read;
pub mod shaders;
pub mod stage;
pub mod weights;

pub use digest::Digest;
pub use error::{BundleError, Fault};
pub use manifest::Manifest;
pub use read::{Bundle, Depth};
pub use stage::Stage;

/// Name of the manifest in a bundle.
pub const MANIFEST: &str = "manifest.json";
/// Name of the plan in a bundle.
pub const PLAN: &str = "plan.bin";
/// Name of the packed weights in a bundle.
pub const WEIGHTS: &str = "weights.bin";
/// Name of the compiled tokenizer in a bundle.
pub const TOKENIZER: &str = "tokenizer.bin";
/// Name of the code for ELF targets in a bundle.
pub const CODE: &str = "model.so";
/// Name of the code for Apple's systems in a bundle: a static library.
pub const STATIC_CODE: &str = "libmodel.a";
/// Name of the kernels for Vulkan in a bundle.
pub const KERNELS_SPV: &str = "kernels.spv";
/// Name of the kernels for Metal in a bundle.
pub const KERNELS_METAL: &str = "kernels.metal";
/// The files that the stub maps and checks itself when it opens a bundle.
pub const MAPPED: [&str; 4] = [WEIGHTS, TOKENIZER, KERNELS_SPV, KERNELS_METAL];
/// Name of the C header in a bundle.
pub const HEADER: &str = "include/slm.h";
/// Name of the model card in a bundle.
pub const CARD: &str = "model-card.md";
/// Name of the smoke questions in a bundle.
pub const GOLDEN: &str = "golden.json";

/// The name by which a model's shared object calls itself (`DT_SONAME`), and its file in packages: that of the model, so that one
/// app holds several.
pub fn library_name(model: &str) -> String {
    format!("lib{}.so", crate::link::archive::identifier(model))
}

/// The file that holds the runtime, and the kernels of a CPU, for a triple.
pub fn code_name(triple: &str) -> &'static str {
    if triple.contains("-apple-") { STATIC_CODE } else { CODE }
}

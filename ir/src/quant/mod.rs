//! The reference quantizers: the interpreter, the packer and the tests use this code, so a weight has one quantized value.
//!
//! Everything is deterministic: plain f32 operations in a fixed order, the same on every host.

pub mod act;
pub mod cache;
pub mod fit;
pub mod format;

pub use act::{ACT_GROUP, quantize_act_group};
pub use cache::CacheRows;
pub use fit::{dequantize_group, quantize_group};
pub use format::{quantize_row, round_row};

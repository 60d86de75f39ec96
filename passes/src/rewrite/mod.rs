//! How passes change a graph.
//!
//! A pass never edits nodes in place: it walks the old graph in order and builds the new one with [`Rebuild`], so values
//! are numbered in the order of the text form and nothing that is not reached is carried along.

pub mod rebuild;
pub mod sweep;

pub use rebuild::Rebuild;
pub use sweep::{Swept, sweep};

//! What passes ask about a graph. Nothing here changes one.

pub mod pet;
pub mod uses;

pub use pet::Dataflow;
pub use uses::Uses;

//! A graph as a picture for people: SVG, with repeated layers drawn once.
//!
//! `fold.rs` takes the graph apart into sections, `layout.rs` places the boxes of each, `svg.rs` writes. Equal graphs give equal
//! bytes.

mod caption;
mod fold;
mod layout;
mod sheet;
mod svg;

pub use sheet::draw;

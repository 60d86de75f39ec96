//! See README.md.
#![deny(unsafe_code)]

pub mod bundle;
pub mod import;
pub mod link;
pub mod target;
pub mod tokenizer;

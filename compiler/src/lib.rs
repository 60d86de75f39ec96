//! See README.md.

pub mod import;

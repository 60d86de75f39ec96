//! Passes over kernel IR.

pub mod legalize;

mod dot_offset;
mod dot_pairs;
mod dot_widen;
mod exp;
mod steps;
mod tanh;

//! The naga back end: every legal expression and statement against the interpreter, on the machine's Vulkan device; SPIR-V
//! under Khronos' validator; MSL by its shape; what is refused.
#![cfg(feature = "naga")]

mod case;
mod exprs;
#[path = "../numbers/mod.rs"]
mod numbers;
mod spirv;
mod vulkan;

use case::check;

#[test]
fn arithmetic() {
    check(false, &exprs::arithmetic());
}

#[test]
fn immediates() {
    check(false, &exprs::immediates());
}

#[test]
fn comparisons() {
    check(false, &exprs::comparisons());
}

#[test]
fn conversions() {
    check(false, &exprs::conversions());
}

#[test]
fn moving_lanes() {
    check(false, &exprs::moves());
}

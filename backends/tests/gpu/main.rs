//! The naga back end: every legal expression and statement against the interpreter, on the machine's Vulkan device; SPIR-V
//! under Khronos' validator; MSL by its shape; what is refused.
#![cfg(feature = "naga")]

mod case;
mod device;
mod exprs;
mod flow;
#[path = "../numbers/mod.rs"]
mod numbers;
mod output;
mod packed;
mod random;
mod refusals;
mod spirv;
mod tiles;
mod vulkan;

use device::check;

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

#[test]
fn packed_bytes() {
    check(false, &packed::bytes());
}

#[test]
fn packed_halves() {
    check(false, &packed::halves());
    check(true, &packed::halves());
}

#[test]
fn half_arithmetic() {
    check(true, &packed::half_arithmetic());
}

#[test]
fn dot_products() {
    check(true, &packed::dots());
}

#[test]
fn statements() {
    check(false, &flow::statements());
}

#[test]
fn workgroups() {
    check(false, &tiles::workgroups());
}

#[test]
fn subgroups() {
    check(true, &tiles::subgroups());
}

//! Every expression and statement of the kernel IR: emitted code against the interpreter, bit for bit (any NaN equals any
//! NaN), on random inputs and edge values, for every known x86-64 target that this machine runs.
#![cfg(all(feature = "llvm", target_arch = "x86_64"))]

mod case;
mod exprs;
mod flow;
mod lanes;
#[path = "../native/mod.rs"]
mod native;
#[path = "../numbers/mod.rs"]
mod numbers;
mod refusals;

use case::Case;
use slmc_ir::target::known;

/// Runs cases on every target that this machine runs.
fn check(cases: Vec<Case>) {
    let mut ran = 0;
    for target in known::known().iter().filter(|t| t.triple.starts_with("x86_64-") && t.gpu.is_none()) {
        if case::runs_here(target) {
            case::check_on(target, &cases);
            ran += 1;
        }
    }
    assert!(ran > 0, "this machine runs none of the known x86-64 targets");
}

#[test]
fn arithmetic() {
    check(exprs::arithmetic());
}

#[test]
fn comparisons() {
    check(exprs::comparisons());
}

#[test]
fn conversions() {
    check(exprs::conversions());
}

#[test]
fn moving_lanes() {
    check(lanes::moves());
}

#[test]
fn dot_products() {
    check(lanes::dots());
}

#[test]
fn statements() {
    check(flow::statements());
}

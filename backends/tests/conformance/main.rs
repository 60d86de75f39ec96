//! Every expression and statement of the kernel IR: emitted code against the interpreter, bit for bit (any NaN equals any
//! NaN), on random inputs and edge values, for every known x86-64 target that this machine runs.
//!
//! Cranelift gets targets as it can use them, and of the cases those that lowering and legalization for such a target can make.
#![cfg(all(any(feature = "cranelift", feature = "llvm"), target_arch = "x86_64"))]

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
use slmc_backends::Backend;
#[cfg(feature = "cranelift")]
use slmc_ir::kernel::Scalar;
use slmc_ir::target::known;
#[cfg(feature = "cranelift")]
use slmc_ir::target::{DotKind, Target};

/// Runs cases by every back end for CPUs on every target that this machine runs.
fn check(cases: Vec<Case>) {
    for backend in backends() {
        let (mut ran, mut least) = (0, usize::MAX);
        for target in known::known().iter().filter(|t| t.triple.starts_with("x86_64-") && t.gpu.is_none()) {
            if case::runs_here(target) {
                least = least.min(case::check_on(backend, &backend.fit(target), &cases));
                ran += 1;
            }
        }
        assert!(ran > 0, "this machine runs none of the known x86-64 targets");
        assert!(least * 4 >= cases.len(), "{} takes only {least} of {} cases", backend.name(), cases.len());
    }
}

/// The back ends for CPUs of this build.
fn backends() -> Vec<&'static dyn Backend> {
    slmc_backends::all().into_iter().filter(|b| b.name() != "naga").collect()
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

/// Cranelift has no expression for these products: it has to find them in what is written for them.
#[cfg(feature = "cranelift")]
#[test]
fn cranelift_selects_the_dot_products_of_the_instruction_set() {
    let vnni = known::find("x86_64-avx512vnni").expect("a known target");
    let pairs = known::find("x86_64-avx2").expect("a known target");
    let arm = Target { triple: "aarch64-unknown-linux-gnu", features: vec!["dotprod"], dot: DotKind::I8I8, ..pairs.clone() };
    let backend = slmc_backends::lookup("cranelift").expect("the feature cranelift");
    for (target, a, expected) in
        [(&vnni, Scalar::U8, &["vpdpbusd"][..]), (&arm, Scalar::I8, &["sdot"]), (&pairs, Scalar::U8, &["vpmaddubsw", "vpmaddwd"])]
    {
        let text = case::listing(backend, &backend.fit(target), &lanes::dot_of(a, target.dot == DotKind::Pairs));
        for name in expected {
            assert_eq!(text.matches(name).count(), 1, "{name}, {}:\n{text}", target.triple);
        }
    }
}

#[test]
fn statements() {
    check(flow::statements());
}

//! The command as a user meets it: help, errors, and, where a code generator is built in, whole bundles.

#[cfg(any(feature = "cranelift", feature = "llvm", feature = "naga"))]
mod compiled;
mod doctor;
mod errors;
#[cfg(feature = "naga")]
mod gpu;
mod graph;
mod help;
mod inspect;
mod opt;
#[path = "../../../tests/src/random_model.rs"]
mod random_model;
mod run;

#[cfg(any(feature = "cranelift", feature = "llvm"))]
mod answers;
#[cfg(any(feature = "cranelift", feature = "llvm"))]
mod bench;
#[cfg(any(feature = "cranelift", feature = "llvm"))]
mod compare;
#[cfg(any(feature = "cranelift", feature = "llvm"))]
mod disk;
#[cfg(any(feature = "cranelift", feature = "llvm"))]
mod eval;
#[cfg(feature = "llvm")]
mod package;
#[cfg(any(feature = "cranelift", feature = "llvm"))]
mod ppl;
#[cfg(any(feature = "cranelift", feature = "llvm"))]
mod tamper;
#[cfg(any(feature = "cranelift", feature = "llvm"))]
mod tune;

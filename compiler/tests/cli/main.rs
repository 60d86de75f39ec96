//! The command as a user meets it: help, errors, and, where a code generator is built in, whole bundles.

#[cfg(any(feature = "llvm", feature = "naga"))]
mod compiled;
mod errors;
#[cfg(feature = "naga")]
mod gpu;
mod help;
mod opt;
mod run;

#[cfg(feature = "llvm")]
mod answers;
#[cfg(feature = "llvm")]
mod disk;
#[cfg(feature = "llvm")]
mod tamper;

//! The command as a user meets it: help, errors, and, where a code generator is built in, whole bundles.

mod errors;
mod help;
mod opt;
mod run;

#[cfg(feature = "llvm")]
mod answers;
#[cfg(feature = "llvm")]
mod compiled;
#[cfg(feature = "llvm")]
mod disk;
#[cfg(feature = "llvm")]
mod tamper;

//! Kernels in Metal's language, executed on this machine: the shim itself, and through it what naga writes.
//!
//! All of it needs clang; without one each test says so and what to install.

mod guarded;
mod launch;
mod wgsl;

mod shim;

//! Kernels in Metal's language, executed on this machine: the shim itself, what naga writes through it, and the Metal
//! part of the stub on a fake of the system.
//!
//! All of it needs clang; without one each test says so and what to install.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod guarded;
mod launch;
mod wgsl;

mod shim;

mod fake;
mod toy;
mod walker;

mod closeness;
mod program;
mod student;

mod model;

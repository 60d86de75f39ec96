//! Kernels in Metal's language, executed on this machine: the shim itself, what naga writes through it, and the Metal
//! part of the stub on a fake of the system.
//!
//! All of it needs clang; without one each test says so and what to install. On other systems a test of `slmc_tests::msl`
//! says that none of it runs.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod guarded;
mod launch;
mod wgsl;

mod shim;

// The cases of the naga back end, which that crate runs on Vulkan.
#[path = "../../../backends/tests/gpu/case.rs"]
mod case;
mod conformance;
#[path = "../../../backends/tests/gpu/exprs.rs"]
mod exprs;
#[path = "../../../backends/tests/gpu/flow.rs"]
mod flow;
#[path = "../../../backends/tests/numbers/mod.rs"]
mod numbers;
#[path = "../../../backends/tests/gpu/packed.rs"]
mod packed;
#[path = "../../../backends/tests/gpu/tiles.rs"]
mod tiles;

mod fake;
mod toy;
mod walker;

mod closeness;
mod program;
mod student;

mod model;

//! The runtime of a bundle: `no_std`, no allocator, no unwinding. README.md describes the ABI.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

pub mod abi;
pub mod bundle;
pub mod fault;
pub mod math;
pub mod model;
pub mod path;
pub mod plan;
pub mod plan_encode;
pub mod platform;
pub mod pool;
pub mod sample;
pub mod session;
pub mod stamp;
pub mod verify;
pub mod walk;
pub mod wire;
pub mod tokenizer;

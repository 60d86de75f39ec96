//! The runtime of a bundle: `no_std`, no allocator, no unwinding. README.md describes the ABI.
#![cfg_attr(not(test), no_std)]

pub mod abi;
pub mod plan_encode;
pub mod wire;

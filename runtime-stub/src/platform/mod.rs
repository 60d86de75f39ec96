//! The only place that talks to the operating system and the processor. README.md lists the hooks a port provides.
#![allow(unsafe_code, reason = "system calls, mappings and pthreads have no safe form without std")]

pub mod cpu;
#[cfg(target_vendor = "apple")]
pub mod darwin;
pub mod memory;
#[cfg(feature = "metal")]
pub mod metal;
pub mod unix;
#[cfg(feature = "vulkan")]
pub mod vulkan;

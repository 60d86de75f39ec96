//! The runtime of a bundle: `no_std`, no allocator, no unwinding. README.md describes the ABI.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

pub mod abi;
pub mod bundle;
pub mod capi;
pub mod device;
pub mod driver_words;
pub mod fault;
pub mod generate;
#[cfg(feature = "jni")]
mod jni;
pub mod math;
pub mod model;
pub mod path;
pub mod plan;
mod plan_device;
pub mod plan_encode;
pub mod platform;
pub mod pool;
pub mod sample;
pub mod session;
pub mod stamp;
pub mod text;
pub mod tokenizer;
pub mod verify;
pub mod walk;
pub mod wire;

/// A fault of our own ends the process: there is nothing to unwind to, and no text to print it with.
#[cfg(all(any(feature = "object", feature = "jni"), panic = "abort"))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    platform::unix::die()
}

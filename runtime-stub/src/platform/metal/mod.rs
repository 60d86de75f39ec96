//! Metal through the Objective-C runtime: no framework crate, no Objective-C compiler.
//!
//! Messages go through `objc_msgSend`, cast to the function that the method is. On Apple systems the functions of the
//! runtime are linked; elsewhere they are a table that a test installs ([`objc::install`]), and without one there is no
//! device. So everything but Apple's own code runs in the tests of any system.
//!
//! All memory is shared by processor and GPU: weights are the mapped file itself, and logits are read where kernels wrote
//! them. A step is one command buffer (or a few, for a long list of dispatches), encoded anew each time. The encoder is
//! the serial one: Metal starts a dispatch when those before it are done, so no barrier is needed and none can be missing.

pub mod objc;

pub mod text;

pub mod device;

pub mod library;

pub mod buffers;

pub mod commands;

pub mod memory;

pub use device::Metal;
pub use memory::MetalMemory;

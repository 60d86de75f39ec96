//! The structs of `slm.h`, field by field. A test compares their sizes with the header's.

use core::ffi::{c_char, c_void};

use crate::sample::Sampling;
use crate::session::Timings;

/// Bytes of [`Error::message`], the closing zero included.
pub const MESSAGE_BYTES: usize = 508;

/// `slm_error`: what a failed call left.
#[repr(C)]
pub struct Error {
    /// The code the call returned.
    pub code: i32,
    /// UTF-8, ends with a zero byte.
    pub message: [u8; MESSAGE_BYTES],
}

/// `slm_info`: what a model is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Info {
    /// UTF-8, ends with a zero byte.
    pub name: [u8; 64],
    /// SHA-256 that the plan names as the bundle's identity.
    pub manifest_digest: [u8; 32],
    /// SHA-256 of the generated code's identity.
    pub code_id: [u8; 32],
    /// Parameters before packing.
    pub parameters: u64,
    /// Bytes of mapped weights.
    pub weights_bytes: u64,
    /// Bytes of a session's activations.
    pub arena_bytes: u64,
    /// Bytes of a session's KV cache.
    pub kv_bytes: u64,
    /// Bytes that one token takes in the KV cache.
    pub kv_token_bytes: u64,
    /// Positions of a session.
    pub context: u32,
    /// Tokens of one step, at most.
    pub chunk: u32,
    /// Token ids are below this.
    pub vocab: u32,
    /// Threads in use.
    pub threads: u32,
    /// How the files came to be trusted, `SLM_TRUST_*`.
    pub trust: u32,
    /// 1 if the bundle has a tokenizer.
    pub has_text: u32,
    /// 1 if the bundle has a chat template.
    pub has_chat: u32,
    /// ABI version of the runtime.
    pub abi_version: u32,
    /// What runs the kernels, `SLM_DEVICE_*`.
    pub device: u32,
    /// The device's name, UTF-8, ends with a zero byte.
    pub device_name: [u8; 128],
}

/// `slm_message`: one message of a chat.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ChatMessage {
    /// "system", "user" or "assistant", ends with a zero byte.
    pub role: *const c_char,
    /// UTF-8.
    pub content: *const c_char,
    /// Bytes of `content`.
    pub content_bytes: usize,
}

/// `slm_receiver`: takes a token of the answer with the text it completes; returns 0 to go on.
pub type ReceiverFn = unsafe extern "C" fn(user: *mut c_void, id: u32, text: *const c_char, bytes: usize) -> i32;

/// `slm_generation`: how to answer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct GenerationOptions {
    /// How to pick tokens.
    pub sampling: Sampling,
    /// Most tokens of the answer; 0 = what the context holds.
    pub max_tokens: u32,
    /// `SLM_IGNORE_EOS`, `SLM_SHOW_SPECIAL`.
    pub flags: u32,
    /// Strings that end the answer, each ending with a zero byte.
    pub stops: *const *const c_char,
    /// Number of these.
    pub stop_count: usize,
    /// Takes the answer, may be null.
    pub receiver: Option<ReceiverFn>,
    /// Handed to `receiver`.
    pub user: *mut c_void,
}

/// `slm_generated`: what happened.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct GeneratedInfo {
    /// `SLM_END_*`.
    pub end: u32,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Of these, tokens that the cache already held.
    pub reused_tokens: u32,
    /// Tokens of the answer.
    pub tokens: u32,
    /// Nanoseconds.
    pub prefill_ns: u64,
    /// Nanoseconds.
    pub decode_ns: u64,
}

/// `slm_kernel_time`: what one kernel did in a measured step.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct KernelTime {
    /// Name of the shader, UTF-8, ends with a zero byte; empty on processors.
    pub name: [u8; 64],
    /// Index of the kernel in the plan.
    pub kernel: u32,
    /// How often it was dispatched.
    pub dispatches: u32,
    /// Nanoseconds of all these together.
    pub ns: u64,
}

const _: () = assert!(size_of::<KernelTime>() == 80);
const _: () = assert!(size_of::<Error>() == 512);
const _: () = assert!(size_of::<Info>() == 336);
const _: () = assert!(size_of::<Sampling>() == 32);
const _: () = assert!(size_of::<Timings>() == 56);
const _: () = assert!(size_of::<GeneratedInfo>() == 32);
const _: () = assert!(size_of::<ChatMessage>() == 3 * size_of::<usize>());
const _: () = assert!(size_of::<GenerationOptions>() == 40 + 4 * size_of::<usize>());

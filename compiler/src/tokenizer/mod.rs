//! The tokenizer compiler: a Hugging Face folder's `tokenizer.json`, chat template and end-of-text ids become the bytes of `tokenizer.bin`,
//! which [`slmc_runtime_stub::tokenizer`] reads on the device.
//!
//! Supported are BPE over bytes (GPT-2, Llama 3, Qwen, SmolLM, StableLM 2), BPE over characters as SentencePiece writes it (Llama 2,
//! TinyLlama, Phi 3, Gemma) and Unigram. Whatever else a file asks for is refused, all of it at once and by name. Same folder, same bytes: the clock is not read, a template that asks for the date gets the one in
//! [`TokenizerOptions::today`].

mod added;
mod automaton;
mod bpe;
mod chat;
mod classes;
mod compile;
mod composition;
mod error;
mod files;
mod pattern;
mod possessive;
mod sections;
mod support;
mod unigram;
mod vocabulary;

pub use chat::{ChatSupport, Date};
pub use compile::{CompiledTokenizer, TokenizerOptions};
pub use error::TokenizerError;

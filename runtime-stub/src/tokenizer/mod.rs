//! The tokenizer of a bundle: text to ids, ids to text, chats to prompts, stop strings.
//!
//! Everything works on a borrowed `tokenizer.bin` (normally mapped read-only) and on scratch slices of the caller: no allocation, no
//! formatting, no unsafe code. [`Tokenizer::open`] checks every offset, length and id of the file once, and every later read is still a
//! checked one that yields a neutral value, so that a corrupt file is an error or a wrong answer, never a panic.
//!
//! The meaning is that of the `tokenizers` crate: added tokens are cut out first, the rest is normalized (NFC, or a mark for each space),
//! split by the pre-tokenizer's automata, and merged by BPE over bytes or characters or cut by Unigram.

mod added;
mod bpe;
mod chat;
mod class;
mod decode;
mod encode;
pub mod format;
mod normalize;
mod open;
mod spaces;
mod split;
mod stop;
mod unigram;

pub use chat::{ChatError, Message, Role};
pub use decode::{DecodeError, Decoder};
pub use encode::{EncodeError, EncodeOptions, Scratch, ScratchLen, TypedSpecials};
pub use format::FormatError;
pub use open::Tokenizer;
pub use stop::{MAX_STOP_BYTES, StopError, StopMatcher, StopStep};

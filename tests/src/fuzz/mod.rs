//! Fuzzing of what reads files: made-up input must be taken or refused, never end in a panic, an abort or a hang.
//!
//! A target is one file here and one line in [`ALL`]. There is no coverage to guide the search; instead a target tells in a word or a
//! sentence how an input ended, and inputs that end in a new way are kept and mutated further. The same seed tries the same inputs.

pub mod drive;
pub mod json;
pub mod mutate;
pub mod random;

mod config;
mod safetensors;
mod tokenizer;
mod tokenizer_bin;
mod tokenizer_seeds;
mod zeros;

use random::Random;

/// Something that reads untrusted bytes.
pub trait Target: Sync {
    /// Its name on the command line and of its saved inputs.
    fn name(&self) -> &'static str;

    /// Inputs to begin with, sound ones above all.
    fn seeds(&self) -> Vec<Vec<u8>>;

    /// Reads the input and uses what it says as far as a program would. Panics where a property is broken; otherwise says how it ended: a
    /// constant for success, the message for a refusal. Messages that differ in numbers only are the same outcome.
    fn run(&self, input: &[u8]) -> String;

    /// A mutation of `input`; `other` is another input of the pool.
    fn mutate(&self, random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
        mutate::any(random, input, other)
    }
}

/// Every target.
pub static ALL: &[&dyn Target] = &[&config::ConfigJson, &safetensors::Safetensors, &tokenizer::TokenizerJson, &tokenizer_bin::TokenizerBin];

/// The target of this name.
pub fn find(name: &str) -> Option<&'static dyn Target> {
    ALL.iter().copied().find(|target| target.name() == name)
}

//! `tokenizer.bin`: the device's reader refuses a damaged file or gives a wrong answer, and stays within its bounds.

use slmc::tokenizer::CompiledTokenizer;
use slmc_runtime_stub::tokenizer::Tokenizer;

use super::Target;
use super::mutate;
use super::random::Random;
use super::tokenizer::exercise;

/// The reader of `tokenizer.bin`.
pub(super) struct TokenizerBin;

impl Target for TokenizerBin {
    fn name(&self) -> &'static str {
        "tokenizer-bin"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let compile = |json: Vec<u8>| {
            let folder = tempfile::tempdir().expect("a folder for the input");
            std::fs::write(folder.path().join("tokenizer.json"), json).expect("the input is written");
            CompiledTokenizer::from_dir(folder.path()).expect("seeds compile").bytes().to_vec()
        };
        super::tokenizer_seeds::all().into_iter().map(compile).collect()
    }

    fn run(&self, input: &[u8]) -> String {
        match Tokenizer::open(input) {
            Ok(tokenizer) => {
                exercise(&tokenizer);
                "opened".to_owned()
            }
            Err(error) => format!("{error:?}"),
        }
    }

    /// Of equal length mostly: the header states the length.
    fn mutate(&self, random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
        if random.below(8) == 0 || input.is_empty() {
            return mutate::bytes(random, input, other);
        }
        let mut bytes = input.to_vec();
        for _ in 0..=random.below(6) {
            // The header and the tables behind it are small beside the rest.
            let range = *random.of(&[256, 4096, bytes.len()]);
            let at = random.below(range.min(bytes.len()));
            bytes[at] = *random.of(&[0, 1, 2, 0x7f, 0x80, 0xff, bytes[at].wrapping_add(1), bytes[at].wrapping_sub(1), bytes[at] ^ 0x10]);
        }
        bytes
    }
}

//! A damaged file is an error or a wrong answer, never a panic.

use slmc_runtime_stub::tokenizer::{Decoder, EncodeOptions, FormatError, Message, Role, Scratch, Tokenizer, TypedSpecials};

use crate::corpus::Random;
use crate::models;

/// Uses everything a session uses; the results do not matter.
fn exercise(tokenizer: &Tokenizer<'_>) {
    let (mut words, mut bytes, mut out) = ([0; 4096], [0; 4096], [0; 256]);
    let mut scratch = Scratch { words: &mut words, bytes: &mut bytes };
    let options = EncodeOptions { typed_specials: TypedSpecials::Tokens, frame: true };
    let _ = tokenizer.encode("Don't 12 e\u{301}\u{323}  \n<|end|> 日本 한".as_bytes(), options, &mut scratch, &mut out);
    let messages = [Message { role: Role::System, content: b"[1] x  y" }, Message { role: Role::User, content: b" <|end|> ? " }];
    let _ = tokenizer.chat(&messages, true, &mut scratch, &mut out);
    let mut decoder = Decoder::default();
    let mut text = vec![0; tokenizer.longest_piece().min(1 << 16)];
    for id in [0, 5, 200, 1023, u32::MAX] {
        let _ = tokenizer.decode_piece(id, true, &mut decoder, &mut text);
    }
    let _ = (tokenizer.eos().count(), tokenizer.bos());
}

#[test]
fn flipped_bytes_never_panic() {
    for model in models::all() {
        let good = model.compiled.bytes();
        let mut random = Random(5);
        let header = 0..600usize.min(good.len());
        let rest: Vec<usize> = (0..2000).map(|_| random.below(good.len())).collect();
        for at in header.chain(rest) {
            let mut bad = good.to_vec();
            bad[at] ^= 1 << random.below(8);
            if at % 3 == 0 {
                bad[at] = 0xff;
            }
            if let Ok(tokenizer) = Tokenizer::open(&bad) {
                exercise(&tokenizer);
            }
        }
    }
}

#[test]
fn every_byte_of_the_shipped_tokenizer_may_flip() {
    let model = models::warehouse();
    let mut bytes = model.compiled.bytes().to_vec();
    for at in 0..bytes.len() {
        bytes[at] ^= 0x41;
        if let Ok(tokenizer) = Tokenizer::open(&bytes) {
            exercise(&tokenizer);
        }
        bytes[at] ^= 0x41;
    }
}

#[test]
fn a_truncated_or_longer_file_is_refused() {
    let model = models::warehouse();
    let good = model.compiled.bytes();
    for len in (0..good.len()).step_by(97).chain(good.len() - 20..good.len()) {
        assert!(Tokenizer::open(&good[..len]).is_err(), "{len} bytes");
    }
    let longer = [good, &[0; 8]].concat();
    assert_eq!(Tokenizer::open(&longer).err(), Some(FormatError::Length { found: longer.len(), expected: good.len() }));
    let mut other = good.to_vec();
    other[4] = 9;
    assert_eq!(Tokenizer::open(&other).err(), Some(FormatError::Version { found: 9 }));
}

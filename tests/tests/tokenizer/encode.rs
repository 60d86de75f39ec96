//! Ids equal those of the `tokenizers` crate.

use std::time::Instant;

use slmc_runtime_stub::tokenizer::{EncodeError, EncodeOptions, Scratch, TypedSpecials};

use crate::corpus::{self, AWKWARD};
use crate::models::{self, Model, encode};

fn check(model: &Model, text: &str) {
    let tokenizer = model.compiled.open().expect("opens");
    for (mode, oracle) in [(TypedSpecials::Tokens, &model.oracle), (TypedSpecials::Text, &model.plain_oracle)] {
        for frame in [false, true] {
            let expected = oracle.encode(text, frame).expect("oracle encodes");
            let found = encode(&tokenizer, text, mode, frame);
            assert_eq!(found, expected.get_ids(), "{}: {text:?}, specials {mode:?}, frame {frame}", model.name);
        }
    }
}

#[test]
fn awkward_strings_encode_as_the_oracle_does() {
    for model in models::all() {
        for text in AWKWARD {
            check(model, text);
        }
        for (a, b) in AWKWARD.iter().zip(AWKWARD.iter().skip(1)) {
            check(model, &format!("{a}{b}"));
        }
    }
}

#[test]
fn random_strings_encode_as_the_oracle_does() {
    let texts = corpus::random(400);
    for model in models::all() {
        texts.iter().for_each(|text| check(model, text));
    }
}

/// Inside of words, between spaces of all kinds, doubled, at the start and at the end.
#[test]
fn added_tokens_anywhere_encode_as_the_oracle_does() {
    for model in models::all() {
        let mut added: Vec<String> = model.oracle.get_added_tokens_decoder().into_values().map(|token| token.content).collect();
        added.sort_unstable();
        for (token, other) in added.iter().zip(added.iter().cycle().skip(1)) {
            for around in ["", " ", "  ", "\n", " \t\u{a0}", "x", "\u{2581}", "\u{65e5}"] {
                check(model, &format!("{token}{around}"));
                check(model, &format!("{around}{token}"));
                check(model, &format!("a{around}{token}{around}b{around}{token}{around}{token}{around}{other}"));
                check(model, &format!("{other}{around}{token} {token}{around} c"));
            }
        }
    }
}

#[test]
fn every_token_encodes_as_the_oracle_does() {
    for model in models::all() {
        let vocabulary = model.oracle.get_vocab(true);
        let mut texts: Vec<String> = vocabulary.into_keys().collect();
        texts.sort_unstable();
        texts.iter().for_each(|text| check(model, text));
    }
}

#[test]
fn a_long_text_encodes_as_the_oracle_does() {
    let held = std::fs::read_to_string(models::warehouse_dir().join("heldout.txt")).expect("text");
    let text = held.repeat(1_000_000 / held.len() + 1);
    for model in models::all() {
        let expected = model.oracle.encode_fast(text.as_str(), true).expect("oracle encodes");
        let found = encode(&model.compiled.open().expect("opens"), &text, TypedSpecials::Tokens, true);
        assert!(found == expected.get_ids(), "{}", model.name);
    }
}

/// No input may be quadratic: a word, a run of spaces and a run of combining marks of a million bytes.
#[test]
fn a_million_bytes_of_one_word_are_quick() {
    let words =
        ["ab".repeat(500_000), " ".repeat(1_000_000), "e\u{301}\u{323}".repeat(200_000), "\u{301}\u{323}".repeat(250_000), "<".repeat(1_000_000)];
    for model in models::all() {
        let tokenizer = model.compiled.open().expect("opens");
        for text in &words {
            let start = Instant::now();
            let ids = encode(&tokenizer, text, TypedSpecials::Tokens, false);
            assert!(!ids.is_empty());
            assert!(start.elapsed().as_secs() < 20, "{}: {:?} took {:?}", model.name, &text[..6], start.elapsed());
        }
    }
}

#[test]
fn text_that_is_not_utf8_is_refused_with_its_place() {
    let bad: [(&[u8], usize); 5] = [(b"\xff", 0), (b"ab\xc3", 2), (b"\xe2\x96x", 0), (b"a \xed\xa0\x80", 2), (b"\xf0\x9f\x98\x80\x80", 4)];
    for model in models::all() {
        let tokenizer = model.compiled.open().expect("opens");
        let options = EncodeOptions { typed_specials: TypedSpecials::Tokens, frame: true };
        for (text, at) in bad {
            let (mut words, mut bytes) = ([0; 256], [0; 256]);
            let found = tokenizer.encode(text, options, &mut Scratch { words: &mut words, bytes: &mut bytes }, &mut [0; 64]);
            assert_eq!(found, Err(EncodeError::NotUtf8 { at }), "{}: {text:?}", model.name);
        }
    }
}

#[test]
fn bad_calls_are_errors() {
    let model = models::warehouse();
    let tokenizer = model.compiled.open().expect("opens");
    let options = EncodeOptions { typed_specials: TypedSpecials::Text, frame: false };
    let mut words = [0; 700];
    let mut out = [0; 3];
    let mut scratch = Scratch { words: &mut words, bytes: &mut [] };
    assert_eq!(tokenizer.encode(b"ab\xff", options, &mut scratch, &mut out), Err(EncodeError::NotUtf8 { at: 2 }));
    assert_eq!(tokenizer.encode(b"1 2 3 4", options, &mut scratch, &mut out), Err(EncodeError::OutputFull { needed: 7 }));
    let mut short = Scratch { words: &mut [0; 6], bytes: &mut [] };
    assert_eq!(tokenizer.encode(b"ab", options, &mut short, &mut out), Err(EncodeError::Scratch { needed: 14 }));
}

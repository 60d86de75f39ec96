//! Text equals the oracle's decoding, however the ids arrive.

use slmc_runtime_stub::tokenizer::{Decoder, Tokenizer, TypedSpecials};

use crate::corpus::{self, AWKWARD, Random};
use crate::models::{self, encode};

fn decode(tokenizer: &Tokenizer<'_>, ids: &[u32], skip: bool) -> String {
    let mut decoder = Decoder::default();
    let mut out = vec![0; tokenizer.longest_piece()];
    let mut text = String::new();
    for &id in ids {
        let len = tokenizer.decode_piece(id, skip, &mut decoder, &mut out).expect("room");
        text += std::str::from_utf8(&out[..len]).expect("every piece is valid UTF-8");
    }
    let len = decoder.finish(&mut out);
    text + std::str::from_utf8(&out[..len]).expect("the end is valid UTF-8")
}

#[test]
fn texts_decode_as_the_oracle_does() {
    let texts: Vec<String> = AWKWARD.iter().map(|t| (*t).to_owned()).chain(corpus::random(200)).collect();
    for model in models::all() {
        let tokenizer = model.compiled.open().expect("opens");
        for text in &texts {
            let ids = encode(&tokenizer, text, TypedSpecials::Tokens, true);
            for skip in [false, true] {
                let expected = model.oracle.decode(&ids, skip).expect("oracle decodes");
                assert_eq!(decode(&tokenizer, &ids, skip), expected, "{}: {text:?}", model.name);
            }
        }
    }
}

/// Random ids give broken characters of every kind.
#[test]
fn random_ids_decode_as_the_oracle_does() {
    for model in models::all() {
        let tokenizer = model.compiled.open().expect("opens");
        let mut random = Random(11);
        for round in 0..300 {
            let range = if round % 2 == 0 { 260 } else { tokenizer.vocab_size() as usize + 5 };
            let ids: Vec<u32> = (0..random.below(60)).map(|_| random.below(range) as u32).collect();
            for skip in [false, true] {
                let expected = model.oracle.decode(&ids, skip).expect("oracle decodes");
                assert_eq!(decode(&tokenizer, &ids, skip), expected, "{}: {ids:?}", model.name);
            }
        }
    }
}

#[test]
fn a_short_buffer_is_an_error() {
    let model = models::warehouse();
    let tokenizer = model.compiled.open().expect("opens");
    assert!(tokenizer.decode_piece(10, true, &mut Decoder::default(), &mut [0; 2]).is_err());
}

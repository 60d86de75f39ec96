//! Text equals the oracle's decoding, however the ids arrive.

use slmc_runtime_stub::tokenizer::{Decoder, Tokenizer, TypedSpecials};

use crate::corpus::{self, AWKWARD, Random};
use crate::models::{self, Model, encode};

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

/// What the oracle makes of the ids. In a run of byte tokens it turns even whole characters into U+FFFD if the run has a broken one, which
/// no stream can do; so broken bytes are first replaced by the bytes of U+FFFD, of which the oracle makes one U+FFFD each.
fn expected(model: &Model, ids: &[u32], skip: bool) -> String {
    let byte = |id: u32| {
        let text = model.oracle.id_to_token(id)?;
        let digits = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>')).filter(|_| model.byte_tokens)?;
        u8::from_str_radix(digits, 16).ok()
    };
    let repaired = |run: &[u8]| -> Vec<u32> {
        let text: String = run.utf8_chunks().flat_map(|chunk| [chunk.valid().to_owned(), "\u{fffd}".repeat(chunk.invalid().len())]).collect();
        text.bytes().map(|byte| model.oracle.token_to_id(&format!("<0x{byte:02X}>")).expect("a token for every byte")).collect()
    };
    let shown = |id: &u32| model.oracle.id_to_token(*id).is_some_and(|text| !skip || !model.is_special(&text));
    let (mut all, mut run) = (Vec::new(), Vec::new());
    for &id in ids.iter().filter(|id| shown(id)) {
        match byte(id) {
            Some(byte) => run.push(byte),
            None => {
                all.extend(repaired(&std::mem::take(&mut run)));
                all.push(id);
            }
        }
    }
    all.extend(repaired(&run));
    model.oracle.decode(&all, skip).expect("oracle decodes")
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
                assert_eq!(decode(&tokenizer, &ids, skip), expected(model, &ids, skip), "{}: {ids:?}", model.name);
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

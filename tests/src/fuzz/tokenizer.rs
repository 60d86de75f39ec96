//! `tokenizer.json`: what compiles must open, and encode and decode without a panic.

use std::path::Path;

use slmc::tokenizer::CompiledTokenizer;
use slmc_runtime_stub::tokenizer::{Decoder, EncodeOptions, Message, Role, Scratch, Tokenizer, TypedSpecials};

use super::Target;

/// The reader of `tokenizer.json`.
pub(super) struct TokenizerJson;

/// Texts with something for every stage of the pipeline.
const TEXTS: [&str; 4] =
    ["", "Don't 12345 e\u{301}\u{323}  \n\t<s> x", " \u{65e5}\u{672c} \u{1f600}\u{200d}\u{1f469} \u{2581}a\u{2581}", "<0x41>\u{0}\r\n   "];

impl Target for TokenizerJson {
    fn name(&self) -> &'static str {
        "tokenizer"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        super::tokenizer_seeds::all()
    }

    fn run(&self, input: &[u8]) -> String {
        let folder = tempfile::tempdir().expect("a folder for the input");
        std::fs::write(folder.path().join("tokenizer.json"), input).expect("the input is written");
        match CompiledTokenizer::from_dir(folder.path()) {
            Ok(compiled) => {
                exercise(&compiled.open().expect("what was compiled opens"));
                "compiled".to_owned()
            }
            // Where the folder is says nothing about the outcome.
            Err(error) => error.to_string().replace(folder.path().to_str().unwrap_or_default(), ""),
        }
    }
}

/// A folder with the example's chat template and whatever else is in it.
pub(super) fn example(file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/warehouse").join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Uses everything that a session uses; a refusal is fine.
pub(super) fn exercise(tokenizer: &Tokenizer<'_>) {
    let mut ids = [0; 256];
    for text in TEXTS {
        for typed_specials in [TypedSpecials::Tokens, TypedSpecials::Text] {
            let need = tokenizer.scratch_len(text.len());
            let (mut words, mut bytes) = (vec![0; need.words.min(1 << 16)], vec![0; need.bytes.min(1 << 16)]);
            let mut scratch = Scratch { words: &mut words, bytes: &mut bytes };
            let count = tokenizer.encode(text.as_bytes(), EncodeOptions { typed_specials, frame: true }, &mut scratch, &mut ids);
            decode(tokenizer, &ids[..count.unwrap_or(0)]);
        }
    }
    let messages = [Message { role: Role::System, content: b"[1] x  y" }, Message { role: Role::User, content: b" <|end|> ? " }];
    let need = tokenizer.chat_scratch_len(&messages);
    let (mut words, mut bytes) = (vec![0; need.words.min(1 << 16)], vec![0; need.bytes.min(1 << 16)]);
    // A prompt or a refusal: neither may panic.
    let _ = tokenizer.chat(&messages, true, &mut Scratch { words: &mut words, bytes: &mut bytes }, &mut ids);
    decode(tokenizer, &[0, 5, 200, 1023, u32::MAX]);
}

fn decode(tokenizer: &Tokenizer<'_>, ids: &[u32]) {
    let mut text = vec![0; tokenizer.longest_piece().min(1 << 20)];
    for skip in [false, true] {
        let mut decoder = Decoder::default();
        for &id in ids {
            let len = tokenizer.decode_piece(id, skip, &mut decoder, &mut text).unwrap_or(0);
            assert!(std::str::from_utf8(&text[..len]).is_ok(), "a piece of text is not UTF-8");
        }
        decoder.finish(&mut text);
    }
}

//! The embedded stub linked with an object of kernels, loaded into this process, and driven through its C interface.
//!
//! The kernels are a table of successors, so an answer is known beforehand; the tokenizer is the warehouse student's.

use std::path::Path;
use std::process::Command;

use sha2::{Digest as _, Sha256};
use slmc::engine::{End, Engine, EngineOptions, GenerateOptions, LIBRARY, NO_TOKEN, Sampling, TokenizeOptions, Trust};
use slmc::link::{CodeObject, LinkRequest, Linker, link_shared};
use slmc::stub::Runtime;
use slmc::tokenizer::CompiledTokenizer;
use slmc_runtime_stub::abi::{Binding, CHUNK_BYTES, Dispatch, Extent, FileEntry, PlanHeader, file_kind, region};
use slmc_runtime_stub::fault::Code;
use slmc_runtime_stub::plan_encode::{PlanParts, encode, encoded_bytes};

const CTX: u32 = 96;
const CHUNK: u32 = 16;
const ANSWER: &str = "The forklift’s 47 kg limit";

struct Bundle {
    dir: tempfile::TempDir,
    vocab: u32,
    /// The prompt's last token, then the tokens of [`ANSWER`].
    chain: Vec<u32>,
}

fn triple() -> &'static str {
    if cfg!(target_arch = "x86_64") { "x86_64-unknown-linux-gnu" } else { "aarch64-unknown-linux-gnu" }
}

fn kernels(dir: &Path) -> Vec<u8> {
    let object = dir.join("kernels.o");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engine/kernels.rs");
    let status = Command::new("rustc")
        .args(["--edition=2024", "--crate-type=lib", "--crate-name=kernels", "-O", "-Cpanic=abort", "-Crelocation-model=pic"])
        .arg(format!("--emit=obj={}", object.display()))
        .arg(source)
        .current_dir(dir)
        .status()
        .expect("rustc runs");
    assert!(status.success());
    let bytes = std::fs::read(&object).expect("an object");
    std::fs::remove_file(object).expect("removable");
    bytes
}

fn file(kind: u32, bytes: &[u8], hashes: &mut Vec<[u8; 32]>) -> FileEntry {
    let first_hash = hashes.len() as u32;
    hashes.extend(bytes.chunks(CHUNK_BYTES as usize).map(|piece| <[u8; 32]>::from(Sha256::digest(piece))));
    let hash_count = hashes.len() as u32 - first_hash;
    FileEntry { bytes: bytes.len() as u64, sha256: Sha256::digest(bytes).into(), first_hash, hash_count, ..FileEntry::absent(kind) }
}

impl Bundle {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let warehouse = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/warehouse");
        let compiled = CompiledTokenizer::from_dir(&warehouse).expect("the student's tokenizer");
        let vocab = compiled.vocab_size();
        let tokenizer = compiled.open().expect("readable");
        let chain = chain(&tokenizer);

        // Every token is followed by the end of the text, those of the chain by each other.
        let eos = tokenizer.eos().next().expect("an end");
        let mut table = vec![eos; vocab as usize];
        for pair in chain.windows(2) {
            table[pair[0] as usize] = pair[1];
        }
        let mut weights: Vec<u8> = table.iter().flat_map(|id| id.to_le_bytes()).collect();
        weights.extend(vocab.to_le_bytes());

        let mut hashes = Vec::new();
        let files = [file(file_kind::WEIGHTS, &weights, &mut hashes), file(file_kind::TOKENIZER, compiled.bytes(), &mut hashes)];
        let (next, logits) = (64, 128);
        let rows = u64::from(vocab) * 8 * 4;
        let binding = |region, offset, len| Binding { region, reserved: 0, offset, len };
        let bindings = [
            binding(region::ARENA, 0, 64),
            binding(region::WEIGHTS, 0, u64::from(vocab) * 4),
            binding(region::ARENA, next, 64),
            binding(region::ARENA, next, 64),
            binding(region::ARENA, logits, rows),
            binding(region::WEIGHTS, u64::from(vocab) * 4, 4),
        ];
        let one = Extent::fixed(1);
        let dispatch = |kernel, x, y| Dispatch { kernel, first_binding: kernel * 3, binding_count: 3, flags: 0, grid: [x, y, one] };
        let header = PlanHeader {
            code_id: [5; 32],
            name: std::array::from_fn(|i| *b"chain".get(i).unwrap_or(&0)),
            ctx: CTX,
            chunk: CHUNK,
            vocab,
            head_rows: 8,
            page_bytes: 4096,
            threads: 2,
            kernel_count: 2,
            arena_bytes: logits + rows,
            weights_bytes: weights.len() as u64,
            logits,
            ..PlanHeader::EMPTY
        };
        let parts = PlanParts {
            header,
            lists: [
                &[dispatch(0, one, one)],
                &[dispatch(0, Extent::tokens(1, CHUNK), one)],
                &[dispatch(1, Extent::fixed(vocab), one)],
                &[dispatch(1, Extent::fixed(vocab), Extent::tokens(1, 8))],
                &[],
            ],
            bindings: &bindings,
            kv_slots: &[],
            files: &files,
            hashes: &hashes,
            shaders: &[],
        };
        let mut plan = vec![0; encoded_bytes(&parts)];
        encode(&parts, &mut plan);

        let stub = slmc::stub::object(triple(), Runtime::Cpu).expect("a stub for this machine");
        let kernels = kernels(dir.path());
        let objects = [CodeObject { name: "kernels", bytes: &kernels }, CodeObject { name: "stub", bytes: stub }];
        let request = LinkRequest { triple: triple(), page_bytes: 4096, soname: LIBRARY, exports: &["slm_*"], loads_driver: false };
        let linker = Linker::find(None).expect("lld");
        let linked = link_shared(&linker, &objects, &request).expect("links");
        assert!(linked.bytes.len() < 120 << 10, "{} bytes of code", linked.bytes.len());
        assert!(!contains(&linked.bytes, b"core::panicking") && !contains(&linked.bytes, b"panicked at"));
        for (name, bytes) in [(LIBRARY, &linked.bytes), ("plan.bin", &plan), ("weights.bin", &weights)] {
            std::fs::write(dir.path().join(name), bytes).expect("writable");
        }
        std::fs::write(dir.path().join("tokenizer.bin"), compiled.bytes()).expect("writable");
        Self { dir, vocab, chain }
    }

    fn open(&self) -> Engine {
        Engine::open(self.dir.path(), &EngineOptions { threads: 2, ..EngineOptions::default() }).expect("opens")
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A token to start with and those of the answer, none twice.
fn chain(tokenizer: &slmc_runtime_stub::tokenizer::Tokenizer<'_>) -> Vec<u32> {
    use slmc_runtime_stub::tokenizer::{EncodeOptions, Scratch, TypedSpecials};

    let options = EncodeOptions { typed_specials: TypedSpecials::Text, frame: false };
    let need = tokenizer.scratch_len(ANSWER.len());
    let (mut words, mut bytes, mut ids) = (vec![0; need.words], vec![0; need.bytes], vec![0; 100]);
    let mut scratch = Scratch { words: &mut words, bytes: &mut bytes };
    let count = tokenizer.encode(ANSWER.as_bytes(), options, &mut scratch, &mut ids).expect("encodes");
    // Repeated tokens would need two successors; the first occurrence keeps the chain simple.
    let mut chain = Vec::new();
    for &id in &ids[..count] {
        let text = tokenizer.token_bytes(id).map(String::from_utf8_lossy);
        assert!(!chain.contains(&id), "the answer repeats a token: {text:?}");
        chain.push(id);
    }
    let start = (0..tokenizer.vocab_size()).find(|id| !chain.contains(id) && !tokenizer.is_special(*id)).expect("a token");
    chain.insert(0, start);
    chain
}

#[test]
fn a_linked_bundle_answers_in_this_process() {
    let bundle = Bundle::new();
    let mut engine = bundle.open();
    assert_eq!((engine.name(), engine.info().vocab, engine.info().threads), ("chain", bundle.vocab, 2));
    assert_eq!(engine.info().trust, Trust::Hashed as u32);

    let prompt = [7, 8, 9, bundle.chain[0]];
    let (mut text, mut ids) = (String::new(), Vec::new());
    let done = engine
        .generate(&prompt, &GenerateOptions::default(), |id, piece| {
            text.push_str(piece);
            ids.push(id);
            true
        })
        .expect("answers");
    assert_eq!(text, ANSWER);
    assert_eq!(done.end, End::EndOfText as u32);
    assert_eq!(ids, bundle.chain[1..]);
    assert_eq!(engine.position().expect("open"), 3 + bundle.chain.len() as u32);
    let timings = engine.timings().expect("open");
    assert_eq!((timings.prefill_tokens, timings.decode_tokens), (4, bundle.chain.len() as u64 - 1));

    // The same prompt again: all but its last token is there.
    let done = engine.generate(&prompt, &GenerateOptions { max_tokens: 2, ..GenerateOptions::default() }, |_, _| true).expect("answers");
    assert_eq!((done.end, done.tokens, done.reused_tokens), (End::Limit as u32, 2, 3));
}

#[test]
fn stop_strings_cut_across_tokens_and_what_is_held_comes_at_the_end() {
    let bundle = Bundle::new();
    let mut engine = bundle.open();
    let mut run = |stops: &[&str], max_tokens| {
        let mut pieces = Vec::new();
        let options = GenerateOptions { stops: stops.iter().map(|&s| s.to_owned()).collect(), max_tokens, ..GenerateOptions::default() };
        let done = engine.generate(&[bundle.chain[0]], &options, |id, piece| {
            pieces.push((id, piece.to_owned()));
            true
        });
        (pieces.iter().map(|(_, piece)| piece.as_str()).collect::<String>(), done.expect("answers").end, pieces)
    };
    assert_eq!(run(&["s 47"], 0).0, "The forklift’");
    assert_eq!(run(&["nothing like it", "limit"], 0).0, "The forklift’s 47 kg ");
    assert_eq!(run(&["s 47"], 0).1, End::Stop as u32);
    // "t limited" never comes; what looked like its beginning is handed out at the end.
    let (text, end, pieces) = run(&["limited"], 0);
    assert_eq!((text.as_str(), end), (ANSWER, End::EndOfText as u32));
    assert_eq!(pieces.last(), Some(&(NO_TOKEN, "limit".to_owned())));
}

#[test]
fn text_chat_logits_and_sessions_work_through_the_c_interface() {
    let bundle = Bundle::new();
    let mut engine = bundle.open();
    let ids = engine.tokenize(ANSWER, TokenizeOptions::default()).expect("encodes");
    assert_eq!(ids, bundle.chain[1..]);
    assert_eq!(engine.detokenize(&ids, false).expect("decodes"), ANSWER);
    assert_eq!(engine.detokenize(&ids[..0], false).expect("decodes"), "");
    let chat = engine.chat_prompt(&[("system", "Be brief."), ("user", "How heavy?")], true).expect("a chat");
    let shown = engine.detokenize(&chat, true).expect("decodes");
    assert!(shown.contains("Be brief.") && shown.contains("How heavy?") && shown.contains("assistant"), "{shown}");
    let fault = engine.chat_prompt(&[("robot", "hi")], true).expect_err("no such role");
    assert!(fault.is(Code::Argument), "{fault}");

    let all = engine.eval_all(&ids).expect("fits");
    let vocab = bundle.vocab as usize;
    for (row, next) in all.chunks(vocab).zip(&bundle.chain[2..]) {
        assert_eq!(row[*next as usize], 10.0);
        assert_eq!(row.iter().sum::<f32>(), 10.0);
    }
    engine.rewind(1).expect("behind");
    let last = engine.eval_last(&ids[1..3]).expect("fits");
    assert_eq!(last, all[2 * vocab..3 * vocab]);
    assert_eq!(engine.sample(&Sampling::GREEDY).expect("logits"), bundle.chain[4]);
    let fault = engine.eval(&[bundle.vocab]).expect_err("no such token");
    assert!(fault.is(Code::Token) && fault.to_string().contains("token id"), "{fault}");
    let fault = engine.eval(&vec![0; CTX as usize]).expect_err("too many");
    assert!(fault.is(Code::ContextFull), "{fault}");
    engine.reset().expect("open");
    assert_eq!(engine.position().expect("open"), 0);

    let canceller = engine.canceller();
    canceller.cancel();
    let fault = engine.eval(&[1, 2, 3]).expect_err("cancelled");
    assert!(fault.is(Code::Cancelled), "{fault}");
    drop(engine);
    canceller.cancel();
}

#[test]
fn what_cannot_be_opened_says_why() {
    let bundle = Bundle::new();
    let missing = Engine::open(&bundle.dir.path().join("nowhere"), &EngineOptions::default());
    assert!(missing.err().expect("absent").to_string().contains("nowhere"));
    let options = EngineOptions { refuse_uncached: true, ..EngineOptions::default() };
    assert!(Engine::open(bundle.dir.path(), &options).err().expect("refused").is(Code::Unverified));
    let cache = tempfile::tempdir().expect("a folder");
    let options = EngineOptions { cache_dir: Some(cache.path().to_owned()), ..EngineOptions::default() };
    for trust in [Trust::Stamped, Trust::Known] {
        assert_eq!(Engine::open(bundle.dir.path(), &options).expect("opens").info().trust, trust as u32);
    }
    std::fs::write(bundle.dir.path().join("tokenizer.bin"), b"x").expect("writable");
    let fault = Engine::open(bundle.dir.path(), &options).err().expect("refused");
    assert!(fault.is(Code::Corrupt) && fault.to_string().starts_with("tokenizer.bin: size differs"), "{fault}");
    std::fs::remove_file(bundle.dir.path().join(LIBRARY)).expect("removable");
    assert!(Engine::open(bundle.dir.path(), &options).err().expect("refused").to_string().contains(LIBRARY));
}

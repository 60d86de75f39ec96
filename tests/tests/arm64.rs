//! Bundles for arm64 on emulated processors: Linux and Android, with and without int8 dot products.
//!
//! f32 bundles of the fixtures give Hugging Face's numbers, quantized ones of the student what this machine's give, and a
//! processor without an instruction set that a bundle needs is told so.
#![cfg(all(feature = "llvm", unix))]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use slmc_tests::emulated::{Emulator, is_arm64_elf};
use slmc_tests::expected::{Expected, fixture, largest_difference, mean_kl};
use slmc_tests::native::{Built, backends, build, logits, targets, tokens};

/// Tokens of a step of a fixture, and of the student.
const CHUNK: u32 = 64;
const STEP: u32 = 256;

/// Targets with the processor they are run on.
const PAIRS: [(&str, &str); 5] = [
    ("linux-arm64", "cortex-a53"),
    ("linux-arm64-dotprod", "cortex-a76"),
    ("linux-arm64-i8mm", "max"),
    ("raspberry-pi5", "cortex-a76"),
    ("android-arm64-dotprod", "cortex-a76"),
];

/// Those of them that a code generator makes different code for.
fn pairs(backend: &str) -> &'static [(&'static str, &'static str)] {
    if backend == "cranelift" { &PAIRS[..2] } else { &PAIRS[..3] }
}

fn build_by(backend: &str, model: &Path, target: &str, quant: &str, chunk: u32) -> Built {
    build(model, target, quant, |o| {
        o.backend = Some(backend.to_owned());
        o.chunk = chunk;
    })
}

/// Every family.
const FIXTURES: [&str; 11] =
    ["gemma2", "gemma3", "llama-tied", "llama-untied", "llama3-rope", "mobilellm-shared", "phi3", "phi3-longrope", "qwen2", "qwen3", "stablelm2"];

fn student() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/warehouse")
}

#[test]
fn f32_bundles_give_the_reference_numbers_in_every_chunking() {
    let Some(emulator) = Emulator::find() else { return };
    for name in FIXTURES {
        let expected = Expected::read(name);
        // The processors differ in how they multiply bytes; numbers are multiplied alike.
        let pairs = if name == "llama-untied" { &PAIRS[..] } else { &PAIRS[..1] };
        for (backend, (target, cpu)) in backends().into_iter().flat_map(|b| pairs.iter().map(move |p| (b, p))) {
            let built = build_by(backend, &fixture(name), target, "f32", CHUNK);
            let target = format!("{target} by {backend}");
            assert!(is_arm64_elf(&built.path().join("model.so")));
            let mut emulated = emulator.open(&built.path(), cpu, 2).unwrap_or_else(|e| panic!("{name} {target}: {e}"));
            let mut whole: Option<Vec<Vec<f32>>> = None;
            for chunk in [CHUNK, 16, 7, 1] {
                let (found, greedy) = emulated.evaluate(&expected.input_ids, chunk, expected.greedy.len() as u32);
                let d = largest_difference(&found, &expected.logits);
                assert!(d <= 2e-4, "{name} {target} on {cpu}, chunks of {chunk}: logits differ by {d}");
                assert_eq!(greedy, expected.greedy, "{name} {target} on {cpu}, chunks of {chunk}");
                let whole = whole.get_or_insert_with(|| found.clone());
                let d = largest_difference(&found, whole);
                assert!(d <= 1e-4, "{name} {target} on {cpu}: chunks of {chunk} and of {CHUNK} differ by {d}");
            }
        }
    }
}

/// Nothing runs code for Apple's systems here. The same kernels, made for the same processor but for Linux, do run.
#[test]
fn the_twin_of_an_apple_bundle_gives_the_reference_numbers() {
    let Some(emulator) = Emulator::find() else { return };
    let expected = Expected::read("llama-tied");
    for target in ["iphone15-cpu", "mac-m1"] {
        let built = build(&fixture("llama-tied"), target, "f32", |o| {
            o.chunk = CHUNK;
            o.target.target.triple = "aarch64-unknown-linux-gnu";
        });
        let mut emulated = emulator.open(&built.path(), "max", 1).unwrap_or_else(|e| panic!("{target}: {e}"));
        for chunk in [CHUNK, 7, 1] {
            let (found, greedy) = emulated.evaluate(&expected.input_ids, chunk, expected.greedy.len() as u32);
            let d = largest_difference(&found, &expected.logits);
            assert!(d <= 2e-4, "{target} in chunks of {chunk}: logits differ by {d}");
            assert_eq!(greedy, expected.greedy, "{target} in chunks of {chunk}");
        }
    }
}

#[test]
fn quantized_bundles_give_the_distributions_of_this_machines() {
    let Some(emulator) = Emulator::find() else { return };
    let Some(&own) = targets().first() else { return };
    for name in FIXTURES {
        let ids = Expected::read(name).input_ids;
        for quant in if name == "llama-untied" { &["q4g32", "q8g32", "f16"][..] } else { &["q4g32"] } {
            let expected = logits(&mut build(&fixture(name), own, quant, |o| o.chunk = CHUNK).open(1), &ids, 0);
            for (backend, (target, cpu)) in backends().into_iter().flat_map(|b| pairs(b).iter().map(move |p| (b, p))) {
                let built = build_by(backend, &fixture(name), target, quant, CHUNK);
                let target = format!("{target} by {backend}");
                let mut emulated = emulator.open(&built.path(), cpu, 1).unwrap_or_else(|e| panic!("{name} {target}: {e}"));
                for chunk in [CHUNK, 1] {
                    let kl = mean_kl(&expected, &emulated.evaluate(&ids, chunk, 0).0);
                    assert!(kl <= 1e-3, "{name} {target} {quant} in chunks of {chunk}: mean KL divergence {kl:e}");
                }
            }
        }
    }
}

#[test]
fn the_student_answers_as_on_this_machine() {
    let Some(emulator) = Emulator::find() else { return };
    let Some(&own) = targets().first() else { return };
    let reference: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(student().join("hf_answers.json")).expect("the example is in the repository")).expect("JSON");
    let prompts: Vec<Vec<u32>> = reference
        .iter()
        .map(|answer| answer["prompt_ids"].as_array().expect("ids").iter().map(|id| id.as_u64().expect("an id") as u32).collect())
        .collect();
    assert_eq!(prompts.len(), 200);
    let text = fs::read_to_string(student().join("heldout.txt")).expect("the example is in the repository");
    let text = &text[..text.floor_char_boundary(4000)];
    for quant in ["q4g32", "q8g32"] {
        let mut engine = build(&student(), own, quant, |_| {}).open(2);
        let ids = tokens(&mut engine, text);
        let window = &ids[..128.min(ids.len())];
        let expected = logits(&mut engine, window, 0);
        let options = slmc::engine::GenerateOptions { max_tokens: 64, ..Default::default() };
        let answers: Vec<String> = prompts
            .iter()
            .map(|prompt| {
                let mut answer = String::new();
                let take = |_: u32, piece: &str| {
                    answer.push_str(piece);
                    true
                };
                engine.generate(prompt, &options, take).unwrap_or_else(|e| panic!("{e}"));
                answer
            })
            .collect();
        // An answer takes the emulator a second: one build gets all questions, the others every fifth.
        for (backend, (target, cpu)) in backends().into_iter().flat_map(|b| pairs(b).iter().map(move |p| (b, p))) {
            let every = if (backend, *cpu) == ("llvm", "cortex-a76") { 1 } else { 5 };
            let built = build_by(backend, &student(), target, quant, STEP);
            let target = format!("{target} by {backend}");
            let mut emulated = emulator.open(&built.path(), cpu, 1).unwrap_or_else(|e| panic!("{target}: {e}"));
            assert_eq!(emulated.tokenize(text), ids, "{target}");
            let kl = mean_kl(&expected, &emulated.evaluate(window, 0, 0).0);
            let asked = prompts.iter().zip(&answers).step_by(every);
            let count = asked.len();
            let equal = asked.filter(|(prompt, answer)| emulated.generate(prompt, 64).1 == **answer).count();
            println!("{target} {quant} on {cpu} against {own}: {equal} of {count} answers equal, mean KL divergence {kl:e}");
            assert!(kl <= 1e-3, "{target} {quant}: mean KL divergence {kl:e}");
            assert!(equal * 200 >= count * 195, "{target} {quant}: {equal} of {count} answers equal");
        }
    }
}

#[test]
fn a_processor_without_an_instruction_set_is_told_so() {
    let Some(emulator) = Emulator::find() else { return };
    let refused = |target: &str, cpu: &str| {
        let built = build(&fixture("llama-tied"), target, "q4g32", |o| o.chunk = CHUNK);
        emulator.open(&built.path(), cpu, 1).err().unwrap_or_else(|| panic!("{target} opened on {cpu}"))
    };
    assert!(refused("linux-arm64-dotprod", "cortex-a53").contains("expected dotprod"));
    assert!(refused("android-arm64-dotprod", "cortex-a53").contains("expected dotprod"));
    assert!(refused("linux-arm64-i8mm", "cortex-a76").contains("i8mm"));
}

/// Instructions for a token of the student, q4g32, one thread, without the head: one token after 32, and 64 tokens at once.
const COUNTS: [(&str, &str, u64, u64); 3] = [
    ("raspberry-pi5", "cortex-a76", 601_924, 409_027),
    ("linux-arm64-i8mm", "max", 653_385, 381_829),
    ("linux-arm64", "cortex-a53", 2_850_434, 2_181_948),
];

/// A figure may move by this share of it before it must be stated anew.
const MOVES: f64 = 0.02;

#[test]
fn a_token_takes_the_recorded_number_of_instructions() {
    let Some(emulator) = Emulator::find() else { return };
    let ids: Vec<u32> = (0..64).map(|i| (i * 7919 + 13) % 1024).collect();
    for (target, cpu, decode, prefill) in COUNTS {
        let built = build(&student(), target, "q4g32", |_| {});
        for (what, step, recorded) in [("decode", 1, decode), ("prefill", 64, prefill)] {
            let prompt = if step == 1 { &ids[..33] } else { &ids };
            let counted = emulator.count(&built.path(), cpu, prompt, step, false);
            let each = counted.all / u64::from(step);
            println!("{target} on {cpu}, {what}: {each} instructions a token; of the step {counted:?}");
            let moved = (each as f64 / recorded as f64 - 1.0).abs();
            assert!(moved <= MOVES, "{target}, {what}: {each} instructions a token, {recorded} are recorded; better or worse, record the new figure");
        }
    }
}

//! The warehouse student as bundles: Hugging Face's own answers from f32, and bundles of one scheme that agree whatever compiled them.
//! What the schemes cost is `quality.rs`'s.
#![cfg(all(feature = "llvm", target_arch = "x86_64"))]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use slmc::engine::{End, Engine, GenerateOptions, NO_TOKEN, Sampling};
use slmc_tests::expected::mean_kl;
use slmc_tests::native::{Built, build, logits, targets, tokens, vulkan_targets};

/// Perplexity of the held-out text by Hugging Face in f32.
const PERPLEXITY_F32: f64 = 14.96;
/// Accepted answers of an f32 bundle, as of Hugging Face.
const ACCEPTED_F32: usize = 160;
/// Tokens of the held-out text, and of a window of it.
const HELDOUT: (usize, usize) = (4096, 256);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/warehouse")
}

fn json(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder().join(name)).expect("the example is in the repository");
    serde_json::from_str(&text).expect("a JSON array")
}

fn student(target: &str, quant: &str) -> Built {
    build(&folder(), target, quant, |_| {})
}

fn student_by(backend: &str, target: &str, quant: &str) -> Built {
    build(&folder(), target, quant, |o| o.backend = Some(backend.to_owned()))
}

/// What a bundle does with one question.
#[derive(Debug, PartialEq)]
struct Answer {
    prompt_ids: Vec<u32>,
    /// With the token that ended the answer.
    answer_ids: Vec<u32>,
    text: String,
}

/// Greedy answers to all questions of `golden.json`.
fn answers(engine: &mut Engine) -> Vec<Answer> {
    let options = GenerateOptions { max_tokens: 64, ..GenerateOptions::default() };
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    json("golden.json")
        .iter()
        .map(|question| {
            let messages = question["messages"].as_array().expect("messages");
            let chat: Vec<(String, String)> = messages.iter().map(|m| (text(&m["role"]), text(&m["content"]))).collect();
            let chat: Vec<(&str, &str)> = chat.iter().map(|(role, content)| (role.as_str(), content.as_str())).collect();
            let prompt_ids = engine.chat_prompt(&chat, true).unwrap_or_else(|e| panic!("{e}"));
            let (mut answer_ids, mut text) = (Vec::new(), String::new());
            let take = |id: u32, piece: &str| {
                answer_ids.extend((id != NO_TOKEN).then_some(id));
                text.push_str(piece);
                true
            };
            let info = engine.generate(&prompt_ids, &options, take).unwrap_or_else(|e| panic!("{e}"));
            // The token that ended the answer is no part of it, but of what Hugging Face returns.
            if info.end == End::EndOfText as u32 {
                answer_ids.push(engine.sample(&Sampling::GREEDY).unwrap_or_else(|e| panic!("{e}")));
            }
            Answer { prompt_ids, answer_ids, text }
        })
        .collect()
}

fn equal(a: &[Answer], b: &[Answer]) -> usize {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).filter(|(a, b)| a.answer_ids == b.answer_ids).count()
}

/// Answers that `golden.json` accepts.
fn accepted(answers: &[Answer]) -> usize {
    let accepts = |question: &Value, answer: &Answer| {
        let list = question["accept"].as_array().expect("a list");
        list.iter().any(|accepted| accepted.as_str().expect("text").trim() == answer.text.trim())
    };
    json("golden.json").iter().zip(answers).filter(|(question, answer)| accepts(question, answer)).count()
}

/// The first tokens of the held-out text, in windows.
fn windows(engine: &mut Engine) -> Vec<Vec<u32>> {
    let text = fs::read_to_string(folder().join("heldout.txt")).expect("the example is in the repository");
    let mut ids = tokens(engine, &text[..text.floor_char_boundary(40_000)]);
    assert!(ids.len() > HELDOUT.0 + 16, "the text is too short");
    ids.truncate(HELDOUT.0);
    ids.chunks(HELDOUT.1).map(<[u32]>::to_vec).collect()
}

/// exp of the mean negative log probability of each token but the first of a window.
fn perplexity(engine: &mut Engine) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for window in windows(engine) {
        let rows = logits(engine, &window, 0);
        for (row, next) in rows.iter().zip(&window[1..]) {
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let total: f64 = row.iter().map(|v| f64::from(v - most).exp()).sum();
            sum += total.ln() - f64::from(row[*next as usize] - most);
            count += 1;
        }
    }
    (sum / f64::from(count)).exp()
}

#[test]
fn an_f32_bundle_gives_the_ids_of_hugging_face() {
    for target in targets() {
        let mut engine = student(target, "f32").open(2);
        let found = answers(&mut engine);
        let reference = json("hf_answers.json");
        assert_eq!((found.len(), reference.len()), (200, 200));
        for (found, expected) in found.iter().zip(&reference) {
            let ids =
                |key: &str| -> Vec<u32> { expected[key].as_array().expect("ids").iter().map(|id| id.as_u64().expect("an id") as u32).collect() };
            let id = &expected["id"];
            assert_eq!(found.prompt_ids, ids("prompt_ids"), "{target}: prompt of {id}");
            if expected["smallest_gap"].as_f64().expect("a gap") > 1e-3 {
                assert_eq!(found.answer_ids, ids("answer_ids"), "{target}: answer of {id}");
            }
        }
        assert_eq!(accepted(&found), ACCEPTED_F32, "{target}");
        let ppl = perplexity(&mut engine);
        println!("{target} f32: perplexity {ppl:.4}");
        assert!((ppl - PERPLEXITY_F32).abs() <= 0.005, "{target}: perplexity {ppl}");
    }
}

#[test]
fn a_q8_bundle_gives_nearly_the_answers_of_an_f32_bundle() {
    for target in targets() {
        let reference = answers(&mut student(target, "f32").open(2));
        let mut engine = student(target, "q8g32").open(2);
        let equal = equal(&answers(&mut engine), &reference);
        println!("{target} q8g32: {equal} of 200 answers equal");
        assert!(equal >= 196, "{target}: {equal} of 200 answers are those of f32");
    }
}

#[test]
fn q4_bundles_of_two_targets_agree() {
    let targets = targets();
    let [first, second] = targets.as_slice() else {
        println!("skipped: this machine runs fewer than two targets");
        return;
    };
    agree(&student(first, "q4g32"), &student(second, "q4g32"), &format!("q4g32, {first} and {second}"));
}

#[test]
fn q4_and_q8_bundles_by_cranelift_agree_with_those_by_llvm() {
    for target in targets() {
        for quant in ["q4g32", "q8g32"] {
            let (a, b) = (student_by("llvm", target, quant), student_by("cranelift", target, quant));
            agree(&a, &b, &format!("{quant}, {target} by LLVM and Cranelift"));
        }
    }
}

#[test]
fn q4_and_q8_bundles_on_vulkan_agree_with_the_processors() {
    let Some(&first) = targets().first() else { return };
    let mut targets = vulkan_targets();
    // Halves for codes are chosen only where the device multiplies no bytes, which the desktop's does.
    targets.extend(targets.contains(&"vulkan-generic").then_some("vulkan-generic,+f16"));
    for second in targets {
        for quant in ["q4g32", "q8g32"] {
            agree(&student(first, quant), &student(second, quant), &format!("{quant}, {first} and {second}"));
        }
    }
}

#[test]
fn a_q8_bundle_on_vulkan_gives_nearly_the_answers_of_an_f32_bundle() {
    let Some(&first) = targets().first() else { return };
    let reference = answers(&mut student(first, "f32").open(2));
    for target in vulkan_targets() {
        let equal = equal(&answers(&mut student(target, "q8g32").open(1)), &reference);
        println!("{target} q8g32: {equal} of 200 answers equal");
        assert!(equal >= 196, "{target}: {equal} of 200 answers are those of f32");
    }
}

/// Compares two bundles of one scheme: answers, and distributions over the held-out text.
fn agree(first: &Built, second: &Built, what: &str) {
    let (mut a, mut b) = (first.open(2), second.open(2));
    let same = equal(&answers(&mut a), &answers(&mut b));
    let (mut sum, mut count) = (0.0, 0.0);
    for window in windows(&mut a) {
        sum += mean_kl(&logits(&mut a, &window, 0), &logits(&mut b, &window, 0));
        count += 1.0;
    }
    let kl = sum / count;
    println!("{what}: {same} of 200 answers equal, mean KL divergence {kl:e}");
    assert!(same >= 195, "{same} of 200 answers are equal");
    assert!(kl <= 1e-3, "mean KL divergence {kl:e}");
}

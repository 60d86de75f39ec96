//! What bundles compute, seen through the command.

use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Stdio;

use safetensors::SafeTensors;

use crate::compiled::{student, tiny};
use crate::run::{Ran, arg, command, repository, slmc};

fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn i64s(bytes: &[u8]) -> Vec<i64> {
    bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("eight"))).collect()
}

#[test]
fn logits_are_those_of_the_reference_in_any_chunks() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let bytes = fs::read(repository("tests/fixtures/llama-tied/expected.safetensors")).expect("fixture");
    let expected = SafeTensors::deserialize(&bytes).expect("safetensors");
    let ids = i64s(expected.tensor("input_ids").expect("ids").data());
    let logits = f32s(expected.tensor("logits").expect("logits").data());
    let greedy = i64s(expected.tensor("greedy").expect("greedy").data());
    let tokens = dir.path().join("ids.json");
    fs::write(&tokens, serde_json::to_string(&ids).expect("JSON")).expect("writable");
    let out = dir.path().join("out.safetensors");
    for chunk in [&["--chunk", "7"][..], &["--chunk", "1"], &[]] {
        slmc(&[&["logits", arg(tiny()), "--tokens", arg(&tokens), "-o", arg(&out), "--greedy", "24"], chunk].concat()).ok();
        let bytes = fs::read(&out).expect("written");
        let found = SafeTensors::deserialize(&bytes).expect("safetensors");
        assert_eq!(found.tensor("logits").expect("logits").shape(), expected.tensor("logits").expect("logits").shape());
        let difference = f32s(found.tensor("logits").expect("logits").data()).iter().zip(&logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference < 2e-4, "{difference}");
        assert_eq!(i64s(found.tensor("greedy").expect("greedy").data()), greedy);
    }
}

#[test]
fn bad_token_ids_are_refused() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let file = dir.path().join("ids.json");
    let out = dir.path().join("out.safetensors");
    let long = format!("[{}1]", "1,".repeat(100_000));
    for (text, said) in [("[]", "no token ids"), ("[1, -2]", "ids.json"), ("[1, 99999999]", "99999999"), ("{}", "JSON array"), (&long, "context")] {
        fs::write(&file, text).expect("writable");
        slmc(&["logits", arg(tiny()), "--tokens", arg(&file), "-o", arg(&out)]).fails_with(&[said]);
    }
    assert!(!out.exists());
}

/// Runs the command to its end with something on standard input.
pub fn with_input(args: &[&str], input: &[u8]) -> Ran {
    let mut child = command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
    // a command that fails early reads nothing
    let _ = child.stdin.take().expect("piped").write_all(input);
    Ran::of(child.wait_with_output().expect("ended"))
}

#[test]
fn a_chat_is_answered_on_standard_output_alone() {
    let golden = fs::read_to_string(repository("examples/warehouse/golden.json")).expect("golden");
    let golden: serde_json::Value = serde_json::from_str(&golden).expect("JSON");
    let reference = fs::read_to_string(repository("examples/warehouse/hf_answers.json")).expect("answers");
    let reference: serde_json::Value = serde_json::from_str(&reference).expect("JSON");
    let reference = reference.as_array().or_else(|| reference["answers"].as_array()).expect("a list");
    let mut equal = 0;
    for (question, answer) in golden.as_array().expect("a list").iter().zip(reference).take(10) {
        let chat = question["messages"].to_string();
        let ran = with_input(&["run", arg(student()), "--messages", "-", "--max-tokens", "40"], chat.as_bytes()).ok();
        assert!(ran.err.contains("tokens/s"), "{}", ran.err);
        equal += usize::from(ran.out.trim_end() == answer["answer"].as_str().expect("text").trim_end());
    }
    assert!(equal >= 9, "{equal} of 10 answers are the reference's");
}

#[test]
fn ids_of_an_answer_include_the_one_that_ended_it() {
    let chat = r#"[{"role": "system", "content": "[1] The restocking fee for luggage is 22 percent."},
        {"role": "user", "content": "What is the restocking fee for luggage?"}]"#;
    let out = with_input(&["run", arg(student()), "--messages", "-", "--json"], chat.as_bytes()).ok().out;
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(json["end"], "end_of_text");
    let ids = json["answer_ids"].as_array().expect("ids");
    assert_eq!(ids.last().and_then(serde_json::Value::as_u64), Some(2), "{ids:?}");
    assert_eq!(ids.len() as u64, json["tokens"].as_u64().expect("a count") + 1);
}

#[test]
fn a_conversation_goes_on_line_by_line() {
    let ran = with_input(&["run", arg(student()), "--quiet", "--max-tokens", "8"], b"hello\n\nwhat?\n/reset\nhello\n/exit\nnever read\n").ok();
    assert_eq!(ran.err, "");
    assert!(ran.out.lines().count() >= 3, "{}", ran.out);
}

#[test]
fn one_answer_in_other_forms() {
    let json = slmc(&["run", arg(student()), "--prompt", "hello", "--max-tokens", "5", "--json"]).ok().out;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(json["prompt_ids"].as_array().is_some_and(|ids| !ids.is_empty()));
    let raw = slmc(&["run", arg(student()), "--prompt", "hello", "--raw", "--max-tokens", "5", "--quiet"]).ok();
    assert_eq!(raw.err, "");
    let dir = tempfile::tempdir().expect("temporary folder");
    let tokens = dir.path().join("ids.json");
    fs::write(&tokens, "[1, 2, 3]").expect("writable");
    let ids = slmc(&["run", arg(tiny()), "--tokens", arg(&tokens), "--max-tokens", "4", "--quiet"]).ok().out;
    assert_eq!(serde_json::from_str::<Vec<u32>>(&ids).expect("ids of a bundle without tokenizer").len(), 4);
}

#[test]
fn bad_prompts_are_refused() {
    let bundle = arg(student());
    slmc(&["run", bundle, "--prompt", "", "--raw"]).fails_with(&["empty"]);
    slmc(&["run", bundle, "--prompt", &"word ".repeat(20_000)]).fails_with(&["context"]);
    with_input(&["run", bundle, "--messages", "-"], b"[]").fails_with(&["no messages"]);
    with_input(&["run", bundle, "--messages", "-"], b"[{\"role\": \"user\"}]").fails_with(&["hint: a chat is"]);
    with_input(&["run", bundle, "--messages", "-"], b"[{\"role\": \"user\", \"content\": \"\xff\"}]").fails_with(&["UTF-8"]);
    with_input(&["run", bundle, "--messages", "-"], b"[{\"role\": \"wizard\", \"content\": \"x\"}]").fails_with(&["wizard"]);
    slmc(&["run", arg(tiny()), "--prompt", "x"]).fails_with(&["tokenizer"]);
    slmc(&["run", bundle, "--prompt", "x", "--top-p", "7"]).fails_with(&["top_p"]);
}

#[test]
fn bad_prompts_of_ids_are_refused() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let file = dir.path().join("ids.json");
    let long = format!("[{}1]", "1,".repeat(100_000));
    for (text, said) in [("[]", "no token ids"), ("[1, -2]", "ids.json"), ("[1, 99999999]", "99999999"), ("[1.5]", "ids.json"), (&long, "context")] {
        fs::write(&file, text).expect("writable");
        slmc(&["run", arg(tiny()), "--tokens", arg(&file), "--max-tokens", "2"]).fails_with(&[said]);
    }
    fs::write(&file, b"[1, \xff]").expect("writable");
    slmc(&["run", arg(tiny()), "--tokens", arg(&file)]).fails_with(&["ids.json"]);
}

#[test]
fn arguments_and_lines_that_are_not_utf_8_are_refused() {
    let mut odd = command(&["run", arg(student()), "--prompt"]);
    odd.arg(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    let ran = Ran::of(odd.output().expect("the command starts"));
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.starts_with("error: ") && ran.err.contains("UTF-8") && !ran.err.contains("panicked"), "{}", ran.err);
    with_input(&["run", arg(student()), "--quiet"], b"caf\xe9\n").fails_with(&["UTF-8"]);
}

#[test]
fn an_answer_that_fills_the_context_ends_in_an_error() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let file = dir.path().join("ids.json");
    // an id for each place of the context but two
    let manifest = fs::read_to_string(tiny().join("manifest.json")).expect("manifest");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    let context = manifest["context"].as_u64().expect("a number");
    let ids: Vec<u64> = (0..context - 2).map(|i| 3 + i % 50).collect();
    fs::write(&file, serde_json::to_string(&ids).expect("JSON")).expect("writable");
    let run = |more: &[&str]| slmc(&[&["run", arg(tiny()), "--tokens", arg(&file), "--quiet"], more].concat());
    run(&["--max-tokens", "2"]).ok();
    run(&["--max-tokens", "40"]).fails_with(&["context"]);
    run(&[]).fails_with(&["context"]);
}

#[test]
fn a_reader_that_leaves_ends_the_command_quietly() {
    let mut child = command(&["inspect", arg(Path::new(student())), "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    let ran = Ran::of(child.wait_with_output().expect("ended"));
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
}

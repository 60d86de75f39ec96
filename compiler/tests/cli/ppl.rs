//! `slmc ppl`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::answers::with_input;
use crate::compiled::{student, tiny};
use crate::run::{Ran, arg, command, repository, slmc};

/// Tokens of the held-out text that these tests score.
const TOKENS: &str = "1024";

fn json(ran: Ran) -> Value {
    serde_json::from_str(&ran.ok().out).expect("JSON")
}

fn number(json: &Value, key: &str) -> f64 {
    json[key].as_f64().unwrap_or_else(|| panic!("{key} of {json}"))
}

#[test]
fn a_text_is_scored_in_windows() {
    let text = repository("examples/warehouse/heldout.txt");
    let run = |more: &[&str]| slmc(&[&["ppl", arg(student()), "--text", arg(&text), "--tokens", TOKENS, "--threads", "2"], more].concat());
    let found = json(run(&["--window", "256", "--json"]));
    assert_eq!(
        (&found["windows"], &found["window"], &found["text_tokens"], &found["scored_tokens"]),
        (&4.into(), &256.into(), &1024.into(), &1020.into())
    );
    assert_eq!(found["begin_ids"], serde_json::json!([]));
    let (ppl, error) = (number(&found, "perplexity"), number(&found, "standard_error"));
    assert!((5.0..40.0).contains(&ppl) && (ppl * 0.01..ppl * 0.2).contains(&error), "{ppl} ± {error}");
    assert!((number(&found, "nats_per_token").exp() - ppl).abs() < 1e-9);
    let longer = json(run(&["--json"]));
    assert_eq!((&longer["window"], &longer["scored_tokens"]), (&512.into(), &1022.into()));
    assert!((number(&longer, "perplexity") - ppl).abs() > 0.1, "{longer}");
    let said = run(&["--window", "256", "--quiet"]).ok();
    assert!(said.out.contains(&format!("{ppl:.4} ± {error:.4}")) && said.out.contains("1020 scored of 1024"), "{}", said.out);
    assert_eq!(said.err, "");
    let text = fs::read_to_string(&text).expect("text");
    let piped = with_input(&["ppl", arg(student()), "--text", "-", "--tokens", TOKENS, "--window", "256", "--json"], text.as_bytes());
    assert_eq!(number(&json(piped), "perplexity"), ppl);
}

#[test]
fn a_checkpoint_is_compiled_and_leaves_nothing() {
    let cache = tempfile::tempdir().expect("temporary folder");
    let compiled = cache.path().join("slmc/compiled");
    // What a killed command left.
    fs::create_dir_all(compiled.join("checkpoint-old/model.slm")).expect("folder");
    let (model, text) = (repository("examples/warehouse"), repository("examples/warehouse/heldout.txt"));
    let args = ["ppl", arg(&model), "--text", arg(&text), "--tokens", TOKENS, "--json", "--quiet"];
    let found = json(Ran::of(command(&args).env("XDG_CACHE_HOME", cache.path()).output().expect("the command starts")));
    assert_eq!(found["scheme"], "f32");
    let bundle = json(slmc(&["ppl", arg(student()), "--text", arg(&text), "--tokens", TOKENS, "--json", "--quiet"]));
    let (f32, q8) = (number(&found, "perplexity"), number(&bundle, "perplexity"));
    assert!(f32 != q8 && (f32 - q8).abs() < f32 * 0.01, "{f32} {q8}");
    assert_eq!(fs::read_dir(&compiled).expect("folder").count(), 0);
}

#[test]
fn what_cannot_be_scored_is_named() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).expect("writable");
        path
    };
    let (text, empty, odd) = (file("text", b"The quick brown fox"), file("empty", b""), file("odd", b"caf\xe9"));
    let ppl = |model: &Path, text: &Path, more: &[&str]| slmc(&[&["ppl", arg(model), "--quiet", "--text", arg(text)], more].concat());
    ppl(student(), Path::new("/no/such/text"), &[]).fails_with(&["/no/such/text"]);
    ppl(student(), &empty, &[]).fails_with(&["empty", "a text of 0 tokens", "hint: "]);
    ppl(student(), &text, &["--tokens", "1"]).fails_with(&["a text of 1 tokens"]);
    ppl(student(), &odd, &[]).fails_with(&["odd", "UTF-8 at byte 3"]);
    ppl(student(), &text, &["--window", "1"]).fails_with(&["--window", "windows of 1 tokens", "at least 2"]);
    ppl(student(), &text, &["--window", "1000000"]).fails_with(&["--window 1000000", "context of", "--ctx"]);
    ppl(tiny(), &text, &[]).fails_with(&["tiny.slm", "no tokenizer", "tokenizer.json"]);
    ppl(dir.path(), &text, &[]).fails_with(&["neither a bundle (manifest.json) nor a checkpoint (config.json)"]);
    ppl(Path::new("/no/such/model"), &text, &[]).fails_with(&["/no/such/model", "no such"]);
    ppl(student(), &text, &["--device", "vulkan"]).fails_with(&["runs on cpu"]);
    let ran = slmc(&["ppl", arg(student())]);
    assert!(ran.code == Some(2) && ran.err.contains("--text"), "{}", ran.err);
}

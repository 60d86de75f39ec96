//! `slmc compare`.

use std::fs;
use std::path::Path;

use safetensors::Dtype;
use serde_json::Value;

use crate::compiled::student;
use crate::random_model::RandomModel;
use crate::run::{Ran, arg, repository, slmc};

fn compare(a: &Path, b: &Path, more: &[&str]) -> Ran {
    let text = repository("examples/warehouse/heldout.txt");
    let window = if more.contains(&"--window") { &[][..] } else { &["--window", "256"] };
    slmc(&[&["compare", arg(a), arg(b), "--text", arg(&text), "--tokens", "600", "--quiet"], window, more].concat())
}

#[test]
fn a_bundle_is_no_way_from_itself_and_a_little_from_its_checkpoint() {
    let json = |ran: Ran| -> Value { serde_json::from_str(&ran.ok().out).expect("JSON") };
    let same = json(compare(student(), student(), &["--json"]));
    assert_eq!((&same["tokens"], &same["same_top"], &same["same_top_rate"]), (&597.into(), &597.into(), &1.0.into()));
    assert_eq!((&same["kl"]["max"], &same["largest_logit_difference"]), (&0.0.into(), &0.0.into()));
    assert_eq!(same["a"]["perplexity"], same["b"]["perplexity"]);

    let checkpoint = repository("examples/warehouse");
    let found = json(compare(&checkpoint, student(), &["--json"]));
    assert_eq!((&found["a"]["scheme"], &found["b"]["scheme"], &found["b"]["perplexity"]), (&"f32".into(), &"q8".into(), &same["b"]["perplexity"]));
    let kl = |key: &str| found["kl"][key].as_f64().unwrap_or_else(|| panic!("{key} of {found}"));
    assert!(0.0 < kl("median") && kl("median") < kl("p99") && kl("p99") < kl("max") && kl("mean") < 0.01, "{found}");
    assert!(found["same_top_rate"].as_f64().is_some_and(|rate| rate > 0.95), "{found}");
    let said = compare(&checkpoint, student(), &[]).ok();
    let p99 = format!("99 % {:.3e}", kl("p99"));
    assert!(["A ", "B ", "same top token", "largest logit diff", &p99].iter().all(|part| said.out.contains(part)), "{}", said.out);
    assert_eq!(said.err, "");
}

/// The student with another tokenizer, or as a model of more tokens.
fn other(dir: &Path, tokens: u64, tokenizer: impl FnOnce(&mut Value)) {
    let json = |name: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(repository("examples/warehouse").join(name)).expect("the example is there")).expect("JSON")
    };
    let mut config = json("config.json");
    config["vocab_size"] = tokens.into();
    RandomModel { name: "other", config, dtype: Dtype::F32, seed: 1 }.write(dir);
    let mut text = json("tokenizer.json");
    tokenizer(&mut text);
    fs::write(dir.join("tokenizer.json"), text.to_string()).expect("writable");
    fs::copy(repository("examples/warehouse/tokenizer_config.json"), dir.join("tokenizer_config.json")).expect("writable");
}

#[test]
fn tokenizers_that_differ_are_told_by_what_differs() {
    let dir = tempfile::tempdir().expect("temporary folder");
    other(dir.path(), 1030, |_| {});
    compare(student(), dir.path(), &[]).fails_with(&["student.slm", "different tokenizers", "vocabularies of 1024 and 1030 tokens", "hint: "]);

    let dir = tempfile::tempdir().expect("temporary folder");
    other(dir.path(), 1024, |tokenizer| {
        let vocab = &mut tokenizer["model"]["vocab"];
        let (hash, plus) = (vocab["#"].take(), vocab["+"].take());
        (vocab["#"], vocab["+"]) = (plus, hash);
    });
    // The text begins with "# `".
    compare(student(), dir.path(), &[]).fails_with(&["different tokenizers", "token 0 of", "heldout.txt is id 8 (\"#\") and id 16 (\"#\")"]);
}

#[test]
fn two_models_have_to_be_given() {
    let ran = slmc(&["compare", arg(student()), "--text", "-"]);
    assert!(ran.code == Some(2) && ran.err.contains("<B>"), "{}", ran.err);
    compare(student(), Path::new("/no/such/model"), &[]).fails_with(&["/no/such/model", "no such"]);
    compare(student(), student(), &["--window", "1000000"]).fails_with(&["--window 1000000", "context of"]);
}

//! `slmc eval`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::compiled::{student, tiny};
use crate::run::{Ran, arg, repository, slmc};

fn eval(model: &Path, golden: &Path, more: &[&str]) -> Ran {
    slmc(&[&["eval", arg(model), "--quiet", "--golden", arg(golden)], more].concat())
}

/// The first questions of the example, `change`d. Of these twelve the checkpoint answers five right.
fn golden(dir: &Path, change: impl FnOnce(&mut Vec<Value>)) -> PathBuf {
    let text = fs::read_to_string(repository("examples/warehouse/golden.json")).expect("the example is there");
    let mut questions: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    questions.truncate(12);
    change(&mut questions);
    let path = dir.join("golden.json");
    fs::write(&path, Value::from(questions).to_string()).expect("writable");
    path
}

#[test]
fn answers_are_counted_and_the_others_listed() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = golden(dir.path(), |_| {});
    let found: Value = serde_json::from_str(&eval(student(), &path, &["--json"]).ok().out).expect("JSON");
    let accepted = found["accepted"].as_u64().expect("a count");
    let missed = found["not_accepted"].as_array().expect("a list").len() as u64;
    assert_eq!((found["questions"].as_u64(), accepted + missed), (Some(12), 12));
    assert!((4..=6).contains(&accepted) && found["to_abstain"].as_u64().is_some_and(|count| count > 0), "{found}");

    // Another right answer is asked for: one answer fewer is accepted, and said to be.
    let path = golden(dir.path(), |questions| questions[0]["accept"] = json!(["A refund. [1]"]));
    let said = eval(student(), &path, &["--verbose"]).ok().out;
    assert!(said.contains(&format!("{} of 12 answers", accepted - 1)), "{said}");
    assert!(said.contains("q000  wrong: \"An exchange only. [4]\"; accepted: \"A refund. [1]\""), "{said}");
    assert!(!eval(student(), &path, &[]).ok().out.contains("q000"));
    let cut = eval(student(), &path, &["--verbose", "--max-tokens", "2"]).ok().out;
    assert!(cut.contains("0 of 12 answers") && cut.contains("(cut off)"), "{cut}");

    let least = accepted.to_string();
    let failed = eval(student(), &path, &["--least", &least]);
    assert_eq!(failed.code, Some(1));
    assert!(failed.out.contains("of 12 answers") && failed.err.contains(&format!("--least {least}")), "{}\n{}", failed.out, failed.err);
    eval(student(), &path, &["--least", &(accepted - 1).to_string()]).ok();
}

#[test]
fn a_checkpoint_answers_too() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = golden(dir.path(), |questions| questions.truncate(1));
    let found: Value = serde_json::from_str(&eval(&repository("examples/warehouse"), &path, &["--json"]).ok().out).expect("JSON");
    assert_eq!((&found["scheme"], &found["accepted"]), (&"f32".into(), &1.into()));
}

#[test]
fn what_cannot_be_asked_is_named() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let bad = |change: fn(&mut Vec<Value>), parts: &[&str]| {
        eval(student(), &golden(dir.path(), change), &[]).fails_with(&[&["golden.json"], parts].concat());
    };
    bad(|questions| questions.clear(), &["no questions", "hint: "]);
    bad(|questions| questions[1]["id"] = "q000".into(), &["two questions have the id \"q000\""]);
    bad(|questions| questions[2]["accept"] = json!([]), &["\"q002\" accepts no answer"]);
    bad(|questions| questions[3]["messages"][0]["role"] = "wizard".into(), &["\"q003\"", "wizard", "system, user, assistant"]);
    bad(|questions| questions[4] = json!({"id": "x"}), &["missing field `messages`"]);
    let long = golden(dir.path(), |questions| questions[1]["messages"][0]["content"] = "many words ".repeat(5000).into());
    eval(student(), &long, &[]).fails_with(&["question \"q001\"", "context"]);
    let sound = golden(dir.path(), |_| {});
    eval(tiny(), &sound, &[]).fails_with(&["tiny.slm", "no tokenizer"]);
    eval(student(), Path::new("/no/such/file"), &[]).fails_with(&["/no/such/file"]);
    eval(dir.path(), &sound, &[]).fails_with(&["neither a bundle"]);
    let ran = slmc(&["eval", arg(student())]);
    assert!(ran.code == Some(2) && ran.err.contains("--golden"), "{}", ran.err);
}

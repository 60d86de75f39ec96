//! `slmc tune` and the file that a compile takes.

use std::fs;

use serde_json::Value;

use crate::run::{arg, repository, slmc};

#[test]
fn what_was_found_is_what_a_compile_takes() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let (file, bundle) = (dir.path().join("tuned.json"), dir.path().join("model.slm"));
    let model = repository("tests/fixtures/llama-tied");
    let args = ["tune", arg(&model), "--seconds", "4", "--threads", "1", "-o", arg(&file), "--quiet"];
    let table = slmc(&args).ok().out;
    assert!(table.contains("token_tile=") && table.contains("of the best before"), "{table}");
    let tuned: Value = serde_json::from_str(&fs::read_to_string(&file).expect("written")).expect("JSON");
    let trials = tuned["trials"].as_array().expect("trials");
    assert!(!trials.is_empty());
    for trial in trials {
        let (ratio, taken) = (trial["ratio"].as_f64().expect("a ratio"), trial["taken"].as_bool().expect("a truth"));
        assert!(ratio > 0.0 && taken == (ratio < 0.98), "{trial}");
        let set = format!("{}={}", trial["parameter"].as_str().expect("a name"), trial["value"]);
        assert!(!taken || trials.iter().filter(|t| t["taken"] == true).count() > 1 || tuned["target"].as_str().expect("a text").contains(&set));
    }
    // A second search begins with what the first one found.
    fs::write(&file, r#"{"target": "host,token_tile=2,prefetch=4", "model": "m", "threads": 1, "trials": []}"#).expect("writable");
    slmc(&["compile", arg(&model), "--tuned", arg(&file), "-o", arg(&bundle), "--quiet"]).ok();
    let manifest: Value = serde_json::from_str(&fs::read_to_string(bundle.join("manifest.json")).expect("written")).expect("JSON");
    assert!(manifest["target"]["name"].as_str().expect("a text").ends_with(",token_tile=2,prefetch=4"), "{}", manifest["target"]);
    slmc(&["tune", arg(&model), "--seconds", "1", "-o", arg(&file), "--quiet"]).ok();
    assert!(fs::read_to_string(&file).expect("written").contains("prefetch="));
}

#[test]
fn what_cannot_be_tuned_is_told() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let file = dir.path().join("tuned.json");
    let model = repository("tests/fixtures/llama-tied");
    slmc(&["tune", arg(&model), "--target", "iphone15-cpu", "-o", arg(&file)]).fails_with(&["iphone15-cpu", "does not run here"]);
    slmc(&["tune", arg(&model), "--target", "vulkan-generic", "-o", arg(&file)]).fails_with(&["vulkan-generic"]);
    assert!(!file.exists());
    fs::write(&file, "{}").expect("writable");
    slmc(&["compile", arg(&model), "--tuned", arg(&file)]).fails_with(&["tuned.json", "slmc tune"]);
    slmc(&["tune", arg(&model), "-o", arg(&file)]).fails_with(&["tuned.json"]);
}

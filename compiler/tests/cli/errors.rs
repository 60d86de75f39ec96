//! What is said about bad input.

use std::fs;

use crate::run::{arg, repository, slmc};

#[test]
fn options_that_mean_nothing_are_named_with_those_that_do() {
    let model = repository("tests/fixtures/llama-tied");
    let model = arg(&model);
    let compile = |more: &[&str]| slmc(&[&["compile", model, "--stop-after", "lower", "--target", "x86_64-avx2"], more].concat());
    compile(&["--quant", "q3"]).fails_with(&["\"q3\"", "q4g32"]);
    compile(&["--keep", "down_proj"]).fails_with(&["down_proj", "REGEX=FORMAT"]);
    compile(&["--keep", "(=q8g32"]).fails_with(&["--keep", "unclosed group"]);
    compile(&["--keep", "nothing_like_it=q8g32"]).fails_with(&["nothing_like_it"]);
    compile(&["--kv", "q3"]).fails_with(&["q3", "q8g32"]);
    slmc(&["compile", model, "--target", "vulkan-generic", "--stop-after", "lower", "--kv", "q8"]).fails_with(&["GPU", "q8g32", "f16, f32"]);
    compile(&["--ctx", "1000000"]).fails_with(&["1000000"]);
    slmc(&["compile", model, "--target", "toaster"]).fails_with(&["toaster", "x86_64-avx2", "hint: slmc targets"]);
    slmc(&["compile", model, "--target", "x86_64-avx2", "--stop-after", "lunch"]).fails_with(&["lunch", "quantize"]);
}

/// Before any code is made.
#[test]
fn a_tokenizer_of_another_model_is_named() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let model = repository("tests/fixtures/llama-tied");
    for entry in fs::read_dir(&model).expect("fixture") {
        let path = entry.expect("entry").path();
        fs::copy(&path, dir.path().join(path.file_name().expect("name"))).expect("copied");
    }
    let text = fs::read_to_string(repository("examples/warehouse/tokenizer.json")).expect("tokenizer");
    let mut tokenizer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let compile = |tokenizer: &serde_json::Value| {
        fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).expect("writable");
        slmc(&["compile", arg(dir.path()), "--target", "x86_64-avx2", "--stop-after", "lower"])
    };
    tokenizer["model"]["vocab"]["zzzz"] = 100_000.into();
    compile(&tokenizer).fails_with(&["tokenizer.json has 100001 ids", "rows", "do not belong together"]);
    tokenizer["model"]["type"] = "WordPiece".into();
    tokenizer["normalizer"] = serde_json::json!({"type": "Lowercase"});
    compile(&tokenizer).fails_with(&["tokenizer.json", "model WordPiece", "normalizer Lowercase"]);
    let model = repository("tests/fixtures/llama-tied");
    let with = |more: [&str; 2]| slmc(&["compile", arg(&model), more[0], more[1]]);
    for (more, said) in [(["--date", "2025-13-01"], "YYYY-MM-DD"), (["--template-value", "x"], "NAME=VALUE")] {
        let ran = with(more);
        assert!(ran.code == Some(2) && ran.err.contains(said), "{}", ran.err);
    }
}

#[test]
fn paths_that_are_not_there_are_named() {
    slmc(&["compile", "/no/such/model", "--target", "x86_64-avx2", "--stop-after", "lower"]).fails_with(&["/no/such/model"]);
    for command in ["verify", "inspect", "bench", "run"] {
        slmc(&[command, "/no/such/bundle.slm"]).fails_with(&["/no/such/bundle.slm", "no such"]);
    }
    slmc(&["opt", "/no/such/file.slmir"]).fails_with(&["/no/such/file.slmir"]);
}

#[test]
fn a_checkpoint_is_no_bundle() {
    let model = repository("tests/fixtures/llama-tied");
    slmc(&["verify", arg(&model)]).fails_with(&["is not a bundle", "manifest.json"]);
    slmc(&["run", arg(&model.join("config.json")), "--prompt", "x"]).fails_with(&["config.json", "not a bundle"]);
}

#[test]
fn ir_goes_through_files_and_passes() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let model = repository("tests/fixtures/llama-tied");
    let dump = dir.path().join("ir");
    let args = ["compile", arg(&model), "--target", "x86_64-avx2", "--stop-after", "lower", "--dump-ir", arg(&dump), "--quiet"];
    if cfg!(feature = "llvm") {
        slmc(&args).ok();
    } else {
        assert_eq!(slmc(&args).ok().out, "");
    }
    let mut names: Vec<String> =
        fs::read_dir(&dump).expect("dumps").map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names.first().map(String::as_str), Some("00-import.slmir"));
    assert_eq!(names.last().map(String::as_str), Some("05-lower.slmir"));

    let import = dump.join("00-import.slmir");
    let same = slmc(&["opt", arg(&import)]).ok().out;
    assert_eq!(same, fs::read_to_string(&import).expect("dump"));
    let quantized = slmc(&["opt", arg(&import), "--passes", "fold,share,quantize{body=q8g32},fuse"]).ok().out;
    assert!(quantized.contains("q8g32["));
    slmc(&["opt", arg(&import), "--passes", "fould"]).fails_with(&["fould", "quantize"]);
    let broken = dir.path().join("broken.slmir");
    fs::write(&broken, same.replacen("rms_norm", "rms_morn", 1)).expect("writable");
    slmc(&["opt", arg(&broken)]).fails_with(&["broken.slmir", "rms_morn"]);
}

#[cfg(not(any(feature = "cranelift", feature = "llvm")))]
#[test]
fn a_build_without_code_generator_says_so() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let model = repository("tests/fixtures/llama-tied");
    let out = dir.path().join("m.slm");
    slmc(&["compile", arg(&model), "--target", "x86_64-avx2", "-o", arg(&out)]).fails_with(&["no code generator", "--features llvm"]);
    assert!(!out.exists());
}

#[cfg(all(feature = "cranelift", not(feature = "llvm")))]
#[test]
fn a_build_without_llvm_compiles_and_says_what_that_costs() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let model = repository("tests/fixtures/llama-tied");
    let out = dir.path().join("m.slm");
    slmc(&["compile", arg(&model), "--target", "x86_64-avx2", "--backend", "llvm", "-o", arg(&out)]).fails_with(&["llvm", "--features llvm"]);
    assert!(!out.exists());
    let told = slmc(&["compile", arg(&model), "--target", "x86_64-avx2", "-o", arg(&out)]).ok().err;
    assert!(["Cranelift", "slower", "--features llvm"].iter().all(|part| told.contains(part)), "{told}");
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(out.join("manifest.json")).expect("written")).expect("JSON");
    assert_eq!(manifest["target"]["backend"], "cranelift");
    assert_eq!(manifest["target"]["features"], serde_json::json!(["avx2", "fma"]));
    let told = slmc(&["compile", arg(&model), "--target", "x86_64-avx2", "--backend", "cranelift", "--force", "-o", arg(&out)]).ok().err;
    assert!(!told.contains("slower"), "{told}");
}

//! What is on disk after compiles that end well, badly, or not at all.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::compiled::{copy, files, tiny};
use crate::run::{Ran, arg, command, repository, slmc};

fn hidden(dir: &Path) -> usize {
    fs::read_dir(dir).expect("folder").filter(|e| e.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().starts_with('.'))).count()
}

#[test]
fn two_compiles_give_the_same_bytes() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let model = repository("tests/fixtures/llama-tied");
    for (name, threads) in [("a.slm", "1"), ("b.slm", "2")] {
        let out = dir.path().join(name);
        slmc(&["compile", arg(&model), "-o", arg(&out), "--threads", threads, "--quiet"]).ok();
    }
    let (a, b) = (dir.path().join("a.slm"), dir.path().join("b.slm"));
    assert_eq!(files(&a), files(&b));
    for path in files(&a) {
        assert!(fs::read(a.join(&path)).expect("a") == fs::read(b.join(&path)).expect("b"), "{path} differs");
    }
    assert_eq!(hidden(dir.path()), 0);
}

#[test]
fn a_bundle_is_replaced_only_when_asked_and_nothing_else_is() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let model = repository("tests/fixtures/llama-tied");
    let out = dir.path().join("m.slm");
    copy(tiny(), &out);
    slmc(&["compile", arg(&model), "-o", arg(&out)]).fails_with(&["exists already", "--force"]);
    let report: serde_json::Value =
        serde_json::from_str(&slmc(&["compile", arg(&model), "-o", arg(&out), "--force", "--quiet", "--json"]).ok().out).expect("JSON");
    assert!(report["bits_per_weight"].as_f64().is_some_and(|bits| bits > 4.0));
    slmc(&["verify", arg(&out)]).ok();
    let foreign = dir.path().join("thesis");
    fs::create_dir(&foreign).expect("folder");
    fs::write(foreign.join("chapter1.txt"), "years").expect("writable");
    slmc(&["compile", arg(&model), "-o", arg(&foreign), "--force"]).fails_with(&["thesis", "not a bundle"]);
    assert!(foreign.join("chapter1.txt").exists());
}

#[test]
fn a_killed_compile_leaves_the_old_bundle_and_the_next_one_cleans_up() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let model = repository("examples/warehouse");
    let out = dir.path().join("m.slm");
    copy(tiny(), &out);
    let before = fs::read(out.join("manifest.json")).expect("manifest");
    let mut found_leftovers = false;
    for _ in 0..20 {
        let mut child =
            command(&["compile", arg(&model), "-o", arg(&out), "--force", "--quiet"]).stdout(Stdio::null()).spawn().expect("the command starts");
        // until it has begun to write, then no further
        while hidden(dir.path()) == 0 && child.try_wait().expect("waited").is_none() {
            sleep(Duration::from_micros(200));
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
        if hidden(dir.path()) > 0 {
            found_leftovers = true;
            break;
        }
    }
    if found_leftovers {
        assert_eq!(fs::read(out.join("manifest.json")).expect("manifest"), before);
        slmc(&["verify", arg(&out)]).ok();
    }
    slmc(&["compile", arg(&model), "-o", arg(&out), "--force", "--quiet"]).ok();
    slmc(&["verify", arg(&out)]).ok();
    assert_eq!(hidden(dir.path()), 0);
}

#[test]
fn a_full_disk_is_told_and_leaves_the_old_bundle() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let model = repository("examples/warehouse");
    let out = dir.path().join("m.slm");
    copy(tiny(), &out);
    // files of at most 400 blocks of 512 bytes: room for the code, none for the weights
    let script = "trap '' XFSZ; ulimit -f 400; exec \"$@\"";
    let ran = Command::new("sh")
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_slmc"), "compile", arg(&model), "-o", arg(&out), "--force", "--quiet"])
        .output()
        .expect("a shell");
    Ran::of(ran).fails_with(&["weights.bin", "hint: nothing was replaced"]);
    slmc(&["verify", arg(&out)]).ok();
    assert_eq!(hidden(dir.path()), 0);
}

#[test]
fn memory_beyond_the_budget_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let model = repository("tests/fixtures/llama-tied");
    let out = dir.path().join("m.slm");
    slmc(&["compile", arg(&model), "--target", "host,memory=100K", "-o", arg(&out)]).fails_with(&["100.0 KiB", "KV cache", "--ctx"]);
    assert!(!out.exists());
}

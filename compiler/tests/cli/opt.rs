//! `slmc opt` and `slmc passes`: IR text of every kind through the passes that are for it.

use std::fs;
use std::path::PathBuf;

use crate::run::{arg, repository, slmc};

/// The code generator that a compile of this build takes for a CPU.
const BACKEND: &str = if cfg!(feature = "llvm") { "llvm" } else { "cranelift" };

/// Dumps of a fixture up to the memory plan; the folder and the file of a phase.
fn dumps() -> (tempfile::TempDir, impl Fn(&str) -> PathBuf) {
    let dir = tempfile::tempdir().expect("temporary folder");
    let model = repository("tests/fixtures/llama-tied");
    let args = ["compile", arg(&model), "--target", "x86_64-avx2", "--chunk", "8", "--stop-after", "memory", "--quiet"];
    slmc(&[&args[..], &["--dump-ir", arg(dir.path())]].concat()).ok();
    let base = dir.path().to_owned();
    (dir, move |name: &str| base.join(format!("{name}.slmir")))
}

fn read(path: &PathBuf) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn kernel_passes_make_the_dumps_of_a_compile() {
    let (_dir, file) = dumps();
    let lowered = file("05-lower");
    assert_eq!(slmc(&["opt", arg(&lowered)]).ok().out, read(&lowered));
    let legal = slmc(&["opt", arg(&lowered), "--passes", "legalize", "--target", "x86_64-avx2", "--backend", BACKEND]).ok().out;
    assert_eq!(legal, read(&file("06-legalize")));
    let args = ["opt", arg(&lowered), "--passes", "legalize,memory", "--target", "x86_64-avx2", "--backend", BACKEND, "--time"];
    let placed = slmc(&args).ok();
    assert_eq!(placed.out, read(&file("07-memory")));
    assert!(placed.err.contains("legalize") && placed.err.contains("memory"), "{}", placed.err);
    let widened = slmc(&["opt", arg(&lowered), "--passes", "legalize", "--target", "x86_64-avx2,dot=none"]).ok().out;
    assert!(legal.contains("dot2") && !widened.contains("dot2"));
}

#[test]
fn kernels_alone_are_taken_too() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("kernel.slmir");
    let text = "slmir 0\n\nkernel @one {t = 1..1, p = 0..0, row = 0..0, grid = [1, 1, 1], lanes = 1} (\n  b0 %y: f32[1] param write align 4) {\n  \
                v0: f32 = exp 0x1p0\n  store b0[0], v0\n}\n";
    fs::write(&path, text).expect("writable");
    assert_eq!(slmc(&["opt", arg(&path)]).ok().out, text);
    let out = dir.path().join("out.slmir");
    slmc(&["opt", arg(&path), "--passes", "legalize", "--target", "x86_64-avx2", "-o", arg(&out)]).ok();
    let legal = read(&out);
    assert!(legal.contains("fma") && !legal.contains("= exp "), "{legal}");
    slmc(&["opt", arg(&path), "--passes", "legalize"]).fails_with(&["legalize", "--target"]);
    slmc(&["opt", arg(&path), "--passes", "memory"]).fails_with(&["memory", "no plan"]);
    slmc(&["opt", arg(&path), "--passes", "fold"]).fails_with(&["fold", "legalize, memory"]);
    fs::write(&path, text.replace("b0[0]", "b0[1]")).expect("writable");
    slmc(&["opt", arg(&path)]).fails_with(&["kernel.slmir", "b0 %y of 1 elements", "[range]"]);
    fs::write(&path, text.replace("store", "stare")).expect("writable");
    slmc(&["opt", arg(&path)]).fails_with(&["kernel.slmir:6:", "stare"]);
    fs::write(&path, [0xff, 0xfe]).expect("writable");
    slmc(&["opt", arg(&path)]).fails_with(&["kernel.slmir", "UTF-8"]);
}

#[test]
fn a_graph_pass_is_no_kernel_pass() {
    let (_dir, file) = dumps();
    slmc(&["opt", arg(&file("00-import")), "--passes", "legalize", "--target", "x86_64-avx2"]).fails_with(&["legalize", "fold, share"]);
}

#[test]
fn both_lists_are_shown_with_options() {
    let text = slmc(&["passes"]).ok().out;
    for part in ["passes over graphs", "keep=", "passes over kernels and plans", "legalize", "memory"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&slmc(&["passes", "--json"]).ok().out).expect("JSON");
    let over = |name: &str| json["passes"].as_array().into_iter().flatten().find(|p| p["name"] == name).map(|p| p["over"].clone());
    assert_eq!(over("fuse"), Some("graph".into()));
    assert_eq!(over("legalize"), Some("kernels".into()));
}

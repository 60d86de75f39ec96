//! Help and usage.

use crate::run::slmc;

const COMMANDS: [&str; 16] = [
    "compile", "run", "logits", "bench", "tune", "check", "ppl", "compare", "eval", "verify", "inspect", "graph", "targets", "devices", "passes",
    "opt",
];

#[test]
fn every_command_has_help() {
    let all = slmc(&["--help"]).ok().out;
    for command in COMMANDS {
        assert!(all.contains(&format!("\n  {command} ")), "{command} is not in:\n{all}");
        let help = slmc(&[command, "--help"]).ok().out;
        assert!(help.contains(&format!("Usage: slmc {command}")), "{help}");
    }
    assert!(slmc(&["--version"]).ok().out.starts_with("slmc "));
}

#[test]
fn a_wrong_command_line_is_told_from_a_failure() {
    for args in [&["frobnicate"][..], &["compile"], &["compile", "m", "--chunk", "0"], &["run", "m", "--prompt", "a", "--tokens", "b"]] {
        let ran = slmc(args);
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.err);
        assert_eq!(ran.out, "");
    }
}

#[test]
fn lists_are_lists() {
    assert!(slmc(&["targets"]).ok().out.contains("x86_64-avx2"));
    let targets: serde_json::Value = serde_json::from_str(&slmc(&["targets", "--json"]).ok().out).expect("JSON");
    assert!(targets.as_array().is_some_and(|list| list.iter().any(|target| target["name"] == "x86_64-avx512vnni")));
    let passes: serde_json::Value = serde_json::from_str(&slmc(&["passes", "--json"]).ok().out).expect("JSON");
    assert!(passes["passes"].as_array().is_some_and(|list| list.iter().any(|pass| pass["name"] == "quantize")));
    assert!(slmc(&["passes"]).ok().out.contains("--stop-after"));
}

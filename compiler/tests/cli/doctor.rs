//! `slmc doctor`: answers on every machine, whatever is missing.

use serde_json::Value;

use crate::run::{Ran, command, slmc};

#[test]
fn what_is_missing_has_its_cost_and_cure() {
    // Without a path there are no programs.
    let ran = Ran::of(command(&["doctor"]).env("PATH", "").env_remove("JAVA_HOME").output().expect("the command starts")).ok();
    for name in ["linker", "qemu-aarch64", "Java compiler", "Xcode"] {
        let missing = format!("{name} is not found\n  costs: ");
        assert!(ran.out.contains(&missing), "{}", ran.out);
    }
    assert_eq!(ran.out.matches("  costs: ").count(), ran.out.matches("  cure:  ").count());
    assert_eq!(ran.err, "");
}

#[test]
fn the_same_comes_as_json() {
    let checks: Value = serde_json::from_str(&slmc(&["doctor", "--json"]).ok().out).expect("JSON");
    let found = |name: &str| !checks.as_array().expect("a list").iter().find(|c| c["name"] == name).expect("listed")["found"].is_null();
    assert_eq!(found("LLVM code generator"), cfg!(feature = "llvm"));
    assert_eq!(found("naga code generator"), cfg!(feature = "naga"));
    assert_eq!(found("reference executor"), cfg!(feature = "reference"));
    assert!(found("runtime x86_64-unknown-linux-gnu") || found("runtime aarch64-unknown-linux-gnu"));
}

//! A short run of every fuzz target with a fixed seed, and the driver on targets that fail.

use std::time::Duration;

use slmc_tests::fuzz::drive::{Limits, drive};
use slmc_tests::fuzz::{ALL, Target};

/// Inputs of a target in a short run.
const EXECUTIONS: u64 = 400;

fn limits(save: &std::path::Path) -> Limits {
    Limits { executions: EXECUTIONS, time: Duration::from_secs(120), hang: Duration::from_secs(30), seed: 1, save: save.to_owned() }
}

#[test]
fn no_target_fails_in_a_short_run() {
    for target in ALL {
        let folder = tempfile::tempdir().expect("folder");
        let report = drive(*target, &limits(folder.path())).expect("drives");
        if let Some(failure) = report.failure {
            let input = std::fs::read(&failure.input).expect("saved");
            panic!("{}: {}: {}", target.name(), failure.what, String::from_utf8_lossy(&input));
        }
        assert!(report.executions == EXECUTIONS && report.outcomes > 3, "{}: {report:?}", target.name());
    }
}

/// Fails on inputs that lack the first byte of its seed.
struct Panics;

impl Target for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        vec![b"{\"a\": [1, 2, 3]}".to_vec()]
    }

    fn run(&self, input: &[u8]) -> String {
        assert!(input.first() == Some(&b'{'), "the first byte is gone");
        "fine".to_owned()
    }
}

/// Takes forever on its seed.
struct Hangs;

impl Target for Hangs {
    fn name(&self) -> &'static str {
        "hangs"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        vec![b"slow".to_vec()]
    }

    fn run(&self, _: &[u8]) -> String {
        loop {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_panic_is_found_and_its_input_saved() {
    let folder = tempfile::tempdir().expect("folder");
    let report = drive(&Panics, &limits(folder.path())).expect("drives");
    let failure = report.failure.expect("found");
    assert!(failure.what.contains("the first byte is gone"), "{}", failure.what);
    assert_ne!(std::fs::read(&failure.input).expect("saved").first(), Some(&b'{'));
}

#[test]
fn a_hang_is_found_and_its_input_saved() {
    let folder = tempfile::tempdir().expect("folder");
    let report = drive(&Hangs, &Limits { hang: Duration::from_millis(200), ..limits(folder.path()) }).expect("drives");
    let failure = report.failure.expect("found");
    assert!(failure.what.contains("still running"), "{}", failure.what);
    assert_eq!(std::fs::read(&failure.input).expect("saved"), b"slow");
}

//! One pass = one file = one name = one folder of tests; the same for commands of filetests.

use std::collections::BTreeSet;

use slmc_passes::graph::GRAPH_PASSES;
use slmc_passes::manager::GRAPH_PIPELINE;
use slmc_tests::command;

use crate::{files, no_breach};

/// Folders of `filetests/pass` that test the driver and not one pass.
const NOT_PASSES: [&str; 1] = ["driver"];

/// Names of the files directly in `folder`, without `.rs`, `mod` left out.
fn modules(folder: &str) -> BTreeSet<String> {
    let name = |(path, _): (String, _)| {
        let name = path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".rs")?.to_owned();
        (!name.contains('/') && name != "mod").then_some(name)
    };
    files().into_iter().filter_map(name).collect()
}

/// Names of the folders directly in `folder` that hold filetests.
fn test_folders(folder: &str) -> BTreeSet<String> {
    let name = |(path, _): (String, _)| {
        let (name, _) = path.strip_prefix(folder)?.strip_prefix('/')?.split_once('/')?;
        path.ends_with(".slmir").then(|| name.to_owned())
    };
    files().into_iter().filter_map(name).collect()
}

fn compare(breaches: &mut Vec<String>, what: &str, found: &BTreeSet<String>, wanted: &BTreeSet<String>) {
    breaches.extend(wanted.difference(found).map(|n| format!("{what}: nothing for `{n}`")));
    breaches.extend(found.difference(wanted).map(|n| format!("{what}: `{n}` stands in no list")));
}

#[test]
fn passes_have_a_file_and_tests_of_their_name() {
    let names: BTreeSet<String> = GRAPH_PASSES.iter().map(|p| p.name.to_owned()).collect();
    let mut breaches = Vec::new();
    if names.len() != GRAPH_PASSES.len() {
        breaches.push("two passes have one name".to_owned());
    }
    compare(&mut breaches, "passes/src/graph", &modules("passes/src/graph"), &names);
    let mut folders = test_folders("tests/filetests/pass");
    folders.retain(|f| !NOT_PASSES.contains(&f.as_str()));
    compare(&mut breaches, "tests/filetests/pass", &folders, &names);
    breaches.extend(GRAPH_PIPELINE.iter().filter(|n| !names.contains(**n)).map(|n| format!("pipeline: `{n}` is no pass")));
    no_breach("one pass = one file = one name = one folder of tests", breaches);
}

#[test]
fn commands_have_a_file_and_tests_of_their_name() {
    let names: BTreeSet<String> = command::ALL.iter().map(|c| c.name.to_owned()).collect();
    let mut breaches = Vec::new();
    compare(&mut breaches, "tests/src/command", &modules("tests/src/command"), &names);
    compare(&mut breaches, "tests/filetests", &test_folders("tests/filetests"), &names);
    no_breach("one command = one file = one name = one folder of tests", breaches);
}

//! One pass = one file = one name = one folder of tests; the same for commands of filetests.

use std::collections::BTreeSet;

use slmc::pipeline::phase::PHASES;
use slmc_passes::graph::GRAPH_PASSES;
use slmc_passes::kernel::KERNEL_PASSES;
use slmc_passes::manager::{GRAPH_PIPELINE, KERNEL_PIPELINE};
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

/// A pass over kernels is a file or a folder, in `kernel/` or, where it is an area of its own, beside it. Its tests are a
/// command of its name.
#[test]
fn kernel_passes_have_a_file_and_tests_of_their_name() {
    let names: BTreeSet<String> = KERNEL_PASSES.iter().map(|p| p.name.to_owned()).collect();
    let mut breaches = Vec::new();
    if names.len() != KERNEL_PASSES.len() {
        breaches.push("two passes have one name".to_owned());
    }
    let paths: BTreeSet<String> = files().into_iter().map(|(path, _)| path).collect();
    let in_kernel = paths.iter().filter_map(|path| path.strip_prefix("passes/src/kernel/")).map(|rest| rest.split(['/', '.']).next().unwrap_or(rest));
    let mut found: BTreeSet<String> = in_kernel.filter(|name| *name != "mod").map(str::to_owned).collect();
    found.extend(names.iter().filter(|name| paths.contains(&format!("passes/src/{name}/mod.rs"))).cloned());
    compare(&mut breaches, "passes/src/kernel, passes/src", &found, &names);
    let folders = test_folders("tests/filetests");
    let commands: BTreeSet<&str> = command::ALL.iter().map(|c| c.name).collect();
    breaches.extend(names.iter().filter(|n| !folders.contains(*n)).map(|n| format!("tests/filetests: nothing for `{n}`")));
    breaches.extend(names.iter().filter(|n| !commands.contains(n.as_str())).map(|n| format!("tests/src/command: nothing for `{n}`")));
    breaches.extend(KERNEL_PIPELINE.iter().filter(|n| !names.contains(**n)).map(|n| format!("pipeline: `{n}` is no pass")));
    no_breach("one kernel pass = one file = one name = one folder of tests", breaches);
}

#[test]
fn every_pass_of_a_compile_is_a_phase() {
    let phases: BTreeSet<&str> = PHASES.iter().map(|(name, _)| *name).collect();
    let passes = GRAPH_PIPELINE.iter().chain(KERNEL_PIPELINE);
    no_breach("--stop-after knows every pass", passes.filter(|p| !phases.contains(**p)).map(ToString::to_string).collect());
}

#[test]
fn commands_have_a_file_and_tests_of_their_name() {
    let names: BTreeSet<String> = command::ALL.iter().map(|c| c.name.to_owned()).collect();
    let mut breaches = Vec::new();
    compare(&mut breaches, "tests/src/command", &modules("tests/src/command"), &names);
    compare(&mut breaches, "tests/filetests", &test_folders("tests/filetests"), &names);
    no_breach("one command = one file = one name = one folder of tests", breaches);
}

//! Bundles for GPUs as a user meets them, on a machine with or without one.

use std::fs;

use slmc::link::Linker;
use slmc::stub::{self, Runtime};
use slmc::target::machine_lacks;

use crate::compiled::{copy, files, vulkan};
use crate::run::{Ran, arg, command, repository, slmc};

/// Says that a test of a bundle for `vulkan-generic` did not run and what to do about it.
fn skipped(test: &str) -> bool {
    let no_linker = Linker::find(None).err().map(|error| format!("{error}; {}", error.hint().unwrap_or_default()));
    let why = machine_lacks("x86_64-unknown-linux-gnu", &[""; 0]).or(no_linker);
    why.iter().for_each(|why| println!("skipped {test}: {why}"));
    why.is_some()
}

/// Compiles for a system of which this build has no runtime, and looks at what the bundle is good for.
fn has_kernels_alone(target: &str, kernels: &str) {
    let dir = tempfile::tempdir().expect("temporary folder");
    let bundle = dir.path().join("m.slm");
    let model = repository("examples/warehouse");
    let ran = slmc(&["compile", arg(&model), "--target", target, "-o", arg(&bundle)]).ok();
    assert!(ran.err.lines().any(|line| line.starts_with("warning: ") && line.contains("no runtime")), "{}", ran.err);
    let files = files(&bundle);
    assert!(files.iter().any(|path| path == kernels), "{files:?}");
    assert!(!files.iter().any(|path| path == "model.so"), "{files:?}");
    assert!(slmc(&["verify", arg(&bundle), "--any-machine"]).ok().out.contains(target));
    slmc(&["verify", arg(&bundle)]).fails_with(&["no runtime", "hint: compile the model for this machine"]);
    slmc(&["run", arg(&bundle), "--prompt", "x"]).fails_with(&["no runtime", target]);
}

#[test]
fn a_bundle_for_metal_without_runtime_has_kernels() {
    if stub::object("aarch64-apple-ios", Runtime::Metal).is_some() {
        return println!("skipped a_bundle_for_metal_without_runtime_has_kernels: this build has a runtime for Metal");
    }
    has_kernels_alone("iphone15-metal", "kernels.metal");
}

#[test]
fn a_bundle_for_another_machine_says_what_runs_it() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let model = repository("examples/warehouse");
    for (target, triple, said) in
        [("iphone15-metal", "aarch64-apple-ios", "next: slmc package "), ("android-adreno", "aarch64-linux-android", "next: slmc package ")]
    {
        let bundle = dir.path().join(target);
        let ran = slmc(&["compile", arg(&model), "--target", target, "-o", arg(&bundle)]).ok();
        let kind = if triple.contains("apple") { Runtime::Metal } else { Runtime::Vulkan };
        let said = if stub::object(triple, kind).is_some() { said } else { "next: slmc inspect " };
        assert!(ran.out.contains(said) && !ran.out.contains("slmc run"), "{}", ran.out);
    }
}

#[test]
fn a_bundle_for_android_without_runtime_has_kernels() {
    if stub::object("aarch64-linux-android", Runtime::Vulkan).is_some() {
        return println!("skipped a_bundle_for_android_without_runtime_has_kernels: this build has a runtime for Android");
    }
    has_kernels_alone("android-adreno", "kernels.spv");
}

#[test]
fn a_device_that_is_not_the_bundles_is_refused() {
    if skipped("a_device_that_is_not_the_bundles_is_refused") {
        return;
    }
    let run = |device: &str| slmc(&["run", arg(vulkan()), "--prompt", "x", "--device", device]);
    run("cpu").fails_with(&["vulkan", "not on cpu", "hint: "]);
    run("metal").fails_with(&["not on metal", "hint: "]);
    // without a driver, that is the reason
    let reason = if slmc(&["devices"]).code == Some(0) { "number is too high" } else { "Vulkan" };
    run("vulkan:250").fails_with(&[reason, "hint: `slmc devices`"]);
    assert_eq!(run("vulkan:255").code, Some(2));
}

#[test]
fn a_flipped_byte_of_the_kernels_is_found_and_named() {
    if skipped("a_flipped_byte_of_the_kernels_is_found_and_named") {
        return;
    }
    let dir = tempfile::tempdir().expect("temporary folder");
    let bundle = dir.path().join("m.slm");
    copy(vulkan(), &bundle);
    slmc(&["verify", arg(&bundle)]).ok();
    let file = bundle.join("kernels.spv");
    let mut bytes = fs::read(&file).expect("kernels");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).expect("writable");
    slmc(&["verify", arg(&bundle)]).fails_with(&["kernels.spv: changed", "hint: "]);
    slmc(&["run", arg(&bundle), "--prompt", "x"]).fails_with(&["kernels.spv"]);
}

#[test]
fn two_compiles_for_vulkan_give_the_same_bytes() {
    if skipped("two_compiles_for_vulkan_give_the_same_bytes") {
        return;
    }
    let dir = tempfile::tempdir().expect("temporary folder");
    let again = dir.path().join("m.slm");
    let model = repository("examples/warehouse");
    slmc(&["compile", arg(&model), "--target", "vulkan-generic", "-o", arg(&again), "--threads", "1", "--quiet"]).ok();
    assert_eq!(files(vulkan()), files(&again));
    for path in files(&again) {
        assert!(fs::read(vulkan().join(&path)).expect("one") == fs::read(again.join(&path)).expect("other"), "{path} differs");
    }
}

#[test]
fn targets_with_gpus_are_listed() {
    let text = slmc(&["targets"]).ok().out;
    let targets: serde_json::Value = serde_json::from_str(&slmc(&["targets", "--json"]).ok().out).expect("JSON");
    let names = ["vulkan-generic", "vulkan-desktop", "android-adreno", "android-mali", "iphone15-metal", "mac-m1-metal"];
    for name in names {
        assert!(text.lines().any(|line| line.starts_with(name)), "{text}");
        let target = targets.as_array().and_then(|list| list.iter().find(|target| target["name"] == name));
        let api = if name.ends_with("metal") { "metal" } else { "vulkan" };
        assert_eq!(target.map(|target| &target["gpu"]["api"]), Some(&serde_json::json!(api)));
    }
}

#[test]
fn devices_are_listed_or_it_is_said_why_there_are_none() {
    let ran = slmc(&["devices"]);
    if ran.code != Some(0) {
        ran.fails_with(&["Vulkan", "hint: "]);
        return slmc(&["devices", "--json"]).fails_with(&["Vulkan", "hint: "]);
    }
    let devices: serde_json::Value = serde_json::from_str(&slmc(&["devices", "--json"]).ok().out).expect("JSON");
    let devices = devices.as_array().expect("an array");
    assert!(!devices.is_empty());
    for (number, device) in devices.iter().enumerate() {
        assert_eq!(device["number"], number);
        assert!(device["invocations"].as_u64().is_some_and(|n| n > 0), "{device}");
        assert!(ran.out.contains(&format!("vulkan:{number} ")), "{}", ran.out);
        assert!(ran.out.contains(device["name"].as_str().expect("text")), "{}", ran.out);
        for target in device["targets"].as_array().expect("an array") {
            assert_eq!(target["satisfied"], target["lacks"].as_array().expect("an array").is_empty(), "{target}");
        }
    }
}

#[test]
fn a_machine_without_driver_is_told_how_to_get_one() {
    // the loader looks for drivers where these say, and finds none
    for more in [&[][..], &["--json"]] {
        let mut devices = command(&[&["devices"], more].concat());
        devices.env("VK_DRIVER_FILES", "/no/such/driver.json").env("VK_ICD_FILENAMES", "/no/such/driver.json");
        Ran::of(devices.output().expect("the command starts")).fails_with(&["no GPU can be reached: ", "hint: install"]);
    }
}

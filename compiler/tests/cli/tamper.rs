//! Bundles that were changed are refused before their code is loaded.

use std::fs;
use std::path::Path;

use slmc::bundle::Manifest;

use crate::compiled::{copy, files, student, tiny};
use crate::run::{arg, slmc};

#[test]
fn one_flipped_byte_in_any_file_is_found_and_named() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let bundle = dir.path().join("m.slm");
    for path in files(student()) {
        copy(student(), &bundle);
        let file = bundle.join(&path);
        let mut bytes = fs::read(&file).expect("file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).expect("writable");
        slmc(&["verify", arg(&bundle)]).fails_with(&[&path, "hint: "]);
        // the stub itself checks what it maps
        slmc(&["run", arg(&bundle), "--prompt", "x"]).fails_with(&[&path]);
    }
}

#[test]
fn cut_missing_and_surplus_files_are_all_named() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let bundle = dir.path().join("m.slm");
    copy(tiny(), &bundle);
    fs::remove_file(bundle.join("include/slm.h")).expect("removed");
    fs::write(bundle.join("notes.txt"), "mine").expect("writable");
    let weights = fs::read(bundle.join("weights.bin")).expect("file");
    fs::write(bundle.join("weights.bin"), &weights[..weights.len() - 1]).expect("writable");
    slmc(&["verify", arg(&bundle)]).fails_with(&["include/slm.h: missing", "notes.txt: not in the manifest", "weights.bin: "]);
    slmc(&["logits", arg(&bundle), "--tokens", arg(&ids(dir.path())), "-o", arg(&dir.path().join("l"))]).fails_with(&["notes.txt"]);
}

#[test]
fn a_manifest_is_read_strictly() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let bundle = dir.path().join("m.slm");
    copy(tiny(), &bundle);
    let file = bundle.join("manifest.json");
    let text = fs::read_to_string(&file).expect("manifest");
    let cases = [
        (text.replace("  \"context\"", " \"context\""), "canonical"),
        (text.replace("\"licence\": null", "\"licence\": \"MIT\""), "digest"),
        (text.replacen("\"format_version\": 1", "\"format_version\": 2", 1), "format version 2"),
        (text[..text.len() / 2].to_owned(), "manifest.json"),
        (String::new(), "manifest.json"),
    ];
    for (changed, said) in cases {
        fs::write(&file, changed).expect("writable");
        slmc(&["verify", arg(&bundle)]).fails_with(&[said]);
    }
}

#[test]
fn a_bundle_for_another_machine_is_refused() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let bundle = dir.path().join("m.slm");
    copy(tiny(), &bundle);
    let file = bundle.join("manifest.json");
    let mut manifest = Manifest::parse(&fs::read_to_string(&file).expect("manifest")).expect("sound");
    manifest.target.triple = "riscv64-unknown-linux-gnu".to_owned();
    fs::write(&file, manifest.seal()).expect("writable");
    slmc(&["logits", arg(&bundle), "--tokens", arg(&ids(dir.path())), "-o", arg(&dir.path().join("l"))])
        .fails_with(&["riscv64-unknown-linux-gnu", "this machine is"]);
    assert!(slmc(&["inspect", arg(&bundle)]).ok().out.contains("riscv64"));
}

#[test]
fn files_of_two_bundles_do_not_mix() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let bundle = dir.path().join("m.slm");
    copy(tiny(), &bundle);
    fs::copy(student().join("plan.bin"), bundle.join("plan.bin")).expect("copied");
    slmc(&["verify", arg(&bundle)]).fails_with(&["plan.bin"]);
}

fn ids(dir: &Path) -> std::path::PathBuf {
    let file = dir.join("ids.json");
    fs::write(&file, "[1, 2, 3]").expect("writable");
    file
}

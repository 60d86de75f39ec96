//! `slmc package` as a user meets it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use roxmltree::{Document, ParsingOptions};
use slmc::package::Javac;
use slmc::stub::{self, Runtime};

use crate::compiled::{student, tiny};
use crate::run::{arg, repository, slmc};

/// Whether this build has a runtime for a system; says what to do if not.
fn has_runtime(triple: &str) -> bool {
    let has = stub::object(triple, Runtime::Cpu).is_some();
    if !has {
        println!("skipped: this build has no runtime for {triple}; `slmc doctor` says how to get one");
    }
    has
}

fn compile(dir: &Path, target: &str, name: &str) -> PathBuf {
    let out = dir.join(format!("{name}-{target}.slm"));
    let model = repository("tests/fixtures/llama-tied");
    slmc(&["compile", arg(&model), "--target", target, "--name", name, "-o", arg(&out), "--quiet"]).ok();
    out
}

/// Every file below a folder, by path.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below").to_string_lossy().into_owned();
                files.insert(name, fs::read(path).expect("file"));
            }
        }
    }
    files
}

#[test]
fn a_folder_for_c_holds_library_header_and_descriptions() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
    let package = |out: &Path| slmc(&["package", arg(student()), arg(tiny()), "-o", arg(out)]).ok();
    assert!(package(&one).out.contains("lib/pkgconfig/warehouse.pc"));
    let files = tree(&one);
    for path in [
        "include/slm.h",
        "lib/libwarehouse.so",
        "lib/libllama_tied.so",
        "lib/pkgconfig/llama_tied.pc",
        "lib/cmake/warehouse/warehouse-config.cmake",
        "share/slm/warehouse.slm/manifest.json",
        "slmc-package.json",
    ] {
        assert!(files.contains_key(path), "{path}: {:?}", files.keys());
    }
    assert!(!files.iter().any(|(_, bytes)| bytes.windows(6).any(|w| w == b"@NAME@")));
    slmc(&["verify", arg(&one.join("share/slm/warehouse.slm"))]).ok();
    package(&two);
    assert!(tree(&two) == files);
}

#[test]
fn a_package_is_replaced_only_on_request_and_other_folders_never() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let out = dir.path().join("package");
    slmc(&["package", arg(tiny()), "-o", arg(&out)]).ok();
    slmc(&["package", arg(tiny()), "-o", arg(&out)]).fails_with(&["exists already", "hint: give --force"]);
    slmc(&["package", arg(student()), "-o", arg(&out), "--force"]).ok();
    assert!(out.join("lib/libwarehouse.so").is_file() && !out.join("lib/libllama_tied.so").exists());
    fs::remove_file(out.join("slmc-package.json")).expect("removed");
    slmc(&["package", arg(tiny()), "-o", arg(&out), "--force"]).fails_with(&["left alone"]);
    assert!(out.join("lib/libwarehouse.so").is_file());
}

#[test]
fn bundles_that_make_no_package_are_all_named() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let out = dir.path().join("package");
    slmc(&["package", arg(tiny()), arg(student()), "-o", arg(&out), "--format", "xcframework"]).fails_with(&[
        "tiny.slm: is for x86_64-unknown-linux-gnu",
        "student.slm: is for x86_64-unknown-linux-gnu",
        "is of model warehouse, the first bundle of llama_tied",
        "hint: ",
    ]);
    slmc(&["package", arg(tiny()), arg(tiny()), "-o", arg(&out)]).fails_with(&["is for model llama_tied, as is", "--name"]);
    slmc(&["package", arg(dir.path()), "-o", arg(&out)]).fails_with(&["manifest.json"]);
    assert_eq!(slmc(&["package", "-o", arg(&out)]).code, Some(2));
    assert_eq!(slmc(&["package", arg(tiny()), "-o", arg(&out), "--format", "apk"]).code, Some(2));
    assert!(!out.exists());
}

#[test]
fn an_xcframework_has_a_slice_for_each_bundle() {
    if !["aarch64-apple-ios", "aarch64-apple-ios-sim", "aarch64-apple-darwin"].into_iter().all(has_runtime) {
        return;
    }
    let dir = tempfile::tempdir().expect("temporary folder");
    let bundles = ["iphone15-cpu", "iphone-simulator", "mac-m1-metal"].map(|target| compile(dir.path(), target, "Tiny-1"));
    let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
    let package = |out: &Path| slmc(&["package", arg(&bundles[2]), arg(&bundles[0]), arg(&bundles[1]), "-o", arg(out), "--json"]).ok();
    let told: serde_json::Value = serde_json::from_str(&package(&one).out).expect("JSON");
    assert_eq!(told["product"], "CTiny1.xcframework");
    assert_eq!(told["format"], "xcframework");
    let files = tree(&one);
    let text = |path: &str| String::from_utf8(files.get(path).unwrap_or_else(|| panic!("{path}: {:?}", files.keys())).clone()).expect("UTF-8");
    for slice in ["ios-arm64", "ios-arm64-simulator", "macos-arm64"] {
        let headers = format!("CTiny1.xcframework/{slice}/Headers/CTiny1");
        assert!(text(&format!("{headers}/tiny_1.h")).contains("int32_t tiny_1_slm_open("));
        assert!(text(&format!("{headers}/module.modulemap")).contains("module CTiny1 {\n    header \"tiny_1.h\""));
        assert!(files[&format!("CTiny1.xcframework/{slice}/libtiny_1.a")].starts_with(b"!<arch>\n"));
        assert!(files.contains_key(&format!("Bundles/{slice}/tiny_1.slm/weights.bin")));
    }
    assert!(files.contains_key("Bundles/macos-arm64/tiny_1.slm/kernels.metal"));
    assert!(text("Package.swift").contains(".linkedFramework(\"Metal\")"));
    assert!(text("Package.swift").contains("platforms: [.iOS(.v15), .macOS(.v13)]"));
    let swift = text("Sources/Tiny1/Tiny1.swift");
    assert!(swift.contains("import CTiny1") && swift.contains("tiny_1_slm_generate(") && swift.contains("TINY_1_SLM_ERR_BUFFER"));
    assert!(!files.values().any(|bytes| bytes.windows(8).any(|w| w == b"@MODULE@")));

    let plist = text("CTiny1.xcframework/Info.plist");
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let plist = Document::parse_with_options(&plist, options).unwrap_or_else(|e| panic!("{e}"));
    let all: Vec<&str> = plist.descendants().filter(|node| node.is_text()).filter_map(|node| node.text()).filter(|t| !t.trim().is_empty()).collect();
    for value in ["ios-arm64", "ios-arm64-simulator", "macos-arm64", "simulator", "libtiny_1.a", "XFWK", "1.0"] {
        assert!(all.contains(&value), "{value}: {all:?}");
    }
    package(&two);
    assert!(tree(&two) == files);
    slmc(&["package", arg(&bundles[0]), arg(&bundles[0]), "-o", arg(&dir.path().join("three"))]).fails_with(&["as is"]);
}

#[test]
fn an_aar_holds_the_libraries_classes_and_data_of_all_models() {
    if !has_runtime("aarch64-linux-android") {
        return;
    }
    let dir = tempfile::tempdir().expect("temporary folder");
    let bundles = ["gate", "policy"].map(|name| compile(dir.path(), "android-arm64", name));
    let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
    let package = |out: &Path| slmc(&["package", arg(&bundles[0]), arg(&bundles[1]), "-o", arg(out)]).ok();
    let ran = package(&one);
    assert!(ran.out.contains("gate.aar"), "{}", ran.out);
    let files = tree(&one);
    assert!(files.contains_key("sources/slmc/Model.java") && files.contains_key("sources/slmc/Answers.kt"));
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(files["gate.aar"].clone())).expect("a zip archive");
    let mut read = |path: &str| {
        let mut bytes = Vec::new();
        archive.by_name(path).unwrap_or_else(|e| panic!("{path}: {e}")).read_to_end(&mut bytes).expect("stored");
        bytes
    };
    for (bundle, name) in bundles.iter().zip(["gate", "policy"]) {
        let code = fs::read(bundle.join("model.so")).expect("code");
        assert!(read(&format!("jni/arm64-v8a/lib{name}.so")) == code);
        let listed = String::from_utf8(read(&format!("assets/slm/{name}/files.txt"))).expect("UTF-8");
        assert!(listed.lines().any(|path| path == "manifest.json") && !listed.contains("model.so"), "{listed}");
        for path in listed.lines() {
            assert!(read(&format!("assets/slm/{name}/{path}")) == fs::read(bundle.join(path)).expect("file"), "{path}");
        }
    }
    assert!(read("jni/arm64-v8a/libslmc_jni.so").starts_with(b"\x7fELF"));
    assert!(String::from_utf8(read("AndroidManifest.xml")).expect("UTF-8").contains("package=\"slmc.gate\""));
    let mut jar = zip::ZipArchive::new(std::io::Cursor::new(read("classes.jar"))).expect("a zip archive");
    let has_class = jar.by_name("slmc/Model.class").is_ok();
    assert_eq!(has_class, Javac::find().is_some());
    assert_eq!(ran.err.contains("no class files"), !has_class, "{}", ran.err);
    assert!(!jar.file_names().any(|name| name.is_ok_and(|name| name.starts_with("android/"))));
    package(&two);
    assert!(tree(&two) == files);
}

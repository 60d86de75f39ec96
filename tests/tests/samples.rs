//! The samples for C and Java, built against packages and run: on this machine, and the C one on an emulated arm64 processor.
#![cfg(all(feature = "llvm", unix))]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use slmc::engine::{Engine, EngineOptions, GenerateOptions};
use slmc::link::Linker;
use slmc::package::{self, Format, Javac, PackageRequest};
use slmc_tests::emulated::Emulator;
use slmc_tests::native::{build, targets};

/// A question that the student answers with a sentence.
const QUESTION: &str = "The restocking fee for luggage is 36 percent. What is the restocking fee for luggage?";

/// The Java sample: opens a model, and does what the class offers.
const JAVA: &str = r#"
import java.io.File;
import slmc.Model;
import slmc.ModelException;

public class Main {
    public static void main(String[] args) throws Exception {
        try {
            Model.open("no-such-library.so", new File(args[1]), null, 1);
            throw new AssertionError("opened");
        } catch (ModelException e) {
            if (e.code() != -2) throw new AssertionError(e.code() + e.getMessage());
        }
        try {
            Model.open(args[0], new File(args[1], "nothing"), null, 1);
            throw new AssertionError("opened");
        } catch (ModelException e) {
            if (e.code() >= 0 || !e.getMessage().contains("plan.bin")) throw new AssertionError(e.code() + e.getMessage());
        }
        Model model = Model.open(args[0], new File(args[1]), null, 2);
        final StringBuilder pieces = new StringBuilder();
        Model.Options options = new Model.Options();
        Model.Message question = new Model.Message("user", args[2]);
        Model.Answer answer = model.answer(options, piece -> { pieces.append(piece); return true; }, question);
        if (!answer.text.contentEquals(pieces) || answer.end != Model.End.TEXT) throw new AssertionError(answer.end);
        options.maxTokens = 2;
        if (model.answer(options, null, question).end != Model.End.LIMIT) throw new AssertionError("no limit");
        options.maxTokens = 0;
        if (model.answer(options, piece -> false, question).end != Model.End.RECEIVER) throw new AssertionError("no receiver");
        model.cancel();
        if (model.answer(options, null, question).end != Model.End.CANCELLED) throw new AssertionError("not cancelled");
        options.stops = new String[] {"\u00fc", answer.text.substring(answer.text.length() - 2)};
        if (model.answer(options, null, question).end != Model.End.STOP) throw new AssertionError("not stopped");
        try {
            model.answer(options, piece -> { throw new IllegalStateException("from the receiver"); }, question);
            throw new AssertionError("no exception");
        } catch (IllegalStateException e) {
            if (!e.getMessage().equals("from the receiver")) throw e;
        }
        try {
            model.prompt(new Model.Message("nobody", "x"));
            throw new AssertionError("no such role");
        } catch (ModelException e) {
            if (e.code() >= 0) throw e;
        }
        StringBuilder ids = new StringBuilder();
        for (int id : model.tokenize("Zo\u00eb \ud83d\ude00")) ids.append(id).append(' ');
        model.reset();
        model.close();
        model.close();
        System.out.println(ids.toString().trim());
        System.out.print(answer.text);
    }
}
"#;

fn student() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/warehouse")
}

/// The answer as the library gives it.
fn answer(bundle: &Path) -> String {
    let mut engine = open(bundle);
    let prompt = engine.chat_prompt(&[("user", QUESTION)], true).unwrap_or_else(|e| panic!("{e}"));
    let mut text = String::new();
    let take = |_: u32, piece: &str| {
        text.push_str(piece);
        true
    };
    engine.generate(&prompt, &GenerateOptions::default(), take).unwrap_or_else(|e| panic!("{e}"));
    assert!(text.len() > 4, "{text:?}");
    text
}

fn open(bundle: &Path) -> Engine {
    Engine::open(bundle, &EngineOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn run(command: &mut Command) -> String {
    let run = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(run.status.success(), "{command:?}: {}\n{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).expect("UTF-8")
}

/// Builds the C sample against a package of `bundle`, and returns the program.
fn compiled(bundle: &Path, dir: &Path, cc: &str) -> PathBuf {
    let output = dir.join("package");
    let request = PackageRequest { bundles: vec![bundle.to_owned()], output, format: Some(Format::Folder), force: false, linker: None };
    let packaged = package::package(&request).unwrap_or_else(|e| panic!("{e}"));
    let flags = run(Command::new("pkg-config").env("PKG_CONFIG_PATH", packaged.path.join("lib/pkgconfig")).args(["--cflags", "--libs", "warehouse"]));
    let program = dir.join("answer");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/c/answer.c");
    run(Command::new(cc).args(["-std=c99", "-Wall", "-Wextra", "-Werror"]).arg(source).args(flags.split_whitespace()).arg("-o").arg(&program));
    program
}

#[test]
fn the_c_sample_answers_on_this_machine() {
    let Some(&own) = targets().first() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let built = build(&student(), own, "q8g32", |_| {});
    let program = compiled(&built.path(), dir.path(), "cc");
    // The package is used where it was moved to, and without the bundle that it was made of.
    let expected = answer(&built.path()) + "\n";
    drop(built);
    let bundle = dir.path().join("package/share/slm/warehouse.slm");
    assert_eq!(run(Command::new(&program).arg(&bundle).arg(QUESTION)), expected);
    let failed = Command::new(&program).arg(dir.path()).arg(QUESTION).output().expect("it starts");
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("plan.bin"));
}

#[test]
fn the_c_sample_answers_on_an_emulated_arm64_processor() {
    let Some(emulator) = Emulator::find() else { return };
    let Some(&own) = targets().first() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let expected = answer(&build(&student(), own, "f32", |_| {}).path()) + "\n";
    let built = build(&student(), "linux-arm64", "f32", |_| {});
    let program = compiled(&built.path(), dir.path(), "aarch64-linux-gnu-gcc");
    let mut command = emulator.command("cortex-a53");
    assert_eq!(run(command.arg(program).arg(dir.path().join("package/share/slm/warehouse.slm")).arg(QUESTION)), expected);
}

#[test]
fn the_java_class_answers_and_reports_on_this_machine() {
    let Some(&own) = targets().first() else { return };
    let Some(javac) = Javac::find() else {
        return println!("skipped: no Java compiler; apt-get install default-jdk-headless gives one");
    };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let built = build(&student(), own, "q8g32", |_| {});
    for (path, bytes) in package::classes(&javac).unwrap_or_else(|e| panic!("{e}")) {
        let file = dir.path().join(path);
        fs::create_dir_all(file.parent().expect("invariant: in a folder")).and_then(|()| fs::write(file, bytes)).expect("writable");
    }
    let linker = Linker::find(None).unwrap_or_else(|e| panic!("{e}"));
    let bridge = package::bridge_library(&linker, built.report.manifest.target.triple.as_str()).unwrap_or_else(|e| panic!("{e}"));
    fs::write(dir.path().join("libslmc_jni.so"), bridge).expect("writable");
    fs::write(dir.path().join("Main.java"), JAVA).expect("writable");
    run(Command::new(&javac.program).current_dir(dir.path()).args(["-cp", ".", "Main.java"]));
    let java = javac.program.with_file_name("java");
    let mut command = Command::new(if java.is_file() { java.as_os_str() } else { OsStr::new("java") });
    command.current_dir(dir.path()).args(["-Xcheck:jni", "-Djava.library.path=.", "-Dstdout.encoding=UTF-8", "-cp", ".", "Main"]);
    let told = run(command.arg(built.path().join("model.so")).arg(built.path()).arg(QUESTION));
    assert!(!told.contains("WARNING"), "{told}");
    let (ids, text) = told.split_once('\n').expect("two parts");
    assert_eq!(text, answer(&built.path()));
    let expected = open(&built.path()).tokenize("Zoë 😀", slmc::engine::TokenizeOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(ids, expected.iter().map(u32::to_string).collect::<Vec<_>>().join(" "));
}

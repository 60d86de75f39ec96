//! Every file of `tests/filetests` is a test, and so is the example at the head of every graph pass.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use slmc_passes::graph::GRAPH_PASSES;
use slmc_tests::doc_example::Example;
use slmc_tests::runner::{self, Mode};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mode = if std::env::var_os("SLMC_BLESS").is_some_and(|v| v == "1") { Mode::Bless } else { Mode::Check };
    let files = match runner::find(&here.join("filetests")) {
        Ok(files) => files,
        Err(e) => {
            eprintln!("cannot list the filetests: {e}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials: Vec<Trial> =
        files.into_iter().map(|(name, path)| Trial::test(name.clone(), move || runner::run(&name, &path, mode).map_err(Into::into))).collect();
    for pass in GRAPH_PASSES {
        let path: PathBuf = here.join("../passes/src/graph").join(format!("{}.rs", pass.name));
        trials.push(Trial::test(format!("example of {}", pass.name), move || {
            let source = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            Ok(Example::find(&source)?.run()?)
        }));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

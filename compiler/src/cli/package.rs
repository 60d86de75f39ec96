//! `slmc package`: bundles as a library for an app's build.

use std::path::PathBuf;

use slmc::package::{self, Format, PackageError, PackageRequest};

use crate::report::{Failure, note, say, say_json};

/// Arguments of `slmc package`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Forms:\n  xcframework  Swift package with an XCFramework: one model, a bundle each for devices, simulator and Macs\n  \
                        aar          Android library with a Java class: one or several models\n  \
                        folder       library, C header, pkg-config file, CMake configuration: one or several models for one system")]
pub struct Args {
    /// The bundles
    #[arg(required = true)]
    bundles: Vec<PathBuf>,
    /// The package, a folder
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Form: xcframework, aar or folder [default: what the first bundle's system suggests]
    #[arg(long, value_name = "FORM", value_parser = parse)]
    format: Option<Format>,
    /// Replace a package that is there already
    #[arg(long)]
    force: bool,
    /// lld to link with [default: ld.lld in PATH, else the Rust toolchain's]
    #[arg(long, value_name = "PATH")]
    linker: Option<PathBuf>,
    /// Report as JSON on standard output
    #[arg(long)]
    json: bool,
}

fn parse(text: &str) -> Result<Format, String> {
    let found = Format::NAMES.iter().find(|(name, _)| *name == text).map(|(_, format)| *format);
    found.ok_or_else(|| format!("no form is called {text:?}; there are {}", Format::NAMES.map(|(name, _)| name).join(", ")))
}

/// Packages.
pub fn run(args: &Args) -> Result<(), Failure> {
    let request = PackageRequest {
        bundles: args.bundles.clone(),
        output: args.output.clone(),
        format: args.format,
        force: args.force,
        linker: args.linker.clone(),
    };
    let packaged = package::package(&request)?;
    if args.json {
        say_json(&packaged);
        return Ok(());
    }
    packaged.notes.iter().for_each(|text| note(format_args!("warning: the package {text}")));
    say(format_args!("{}: {}", packaged.path.display(), packaged.product));
    Ok(())
}

impl From<PackageError> for Failure {
    fn from(error: PackageError) -> Self {
        let failure = Self::new(&error);
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

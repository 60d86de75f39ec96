//! `slmc verify`: is this bundle what its manifest says, and for this machine?

use std::path::PathBuf;

use serde::Serialize;
use slmc::bundle::{Bundle, Depth};
use slmc::pipeline::human;

use crate::report::{Failure, say, say_json};

/// Arguments of `slmc verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle
    bundle: PathBuf,
    /// Do not ask whether this machine can run it
    #[arg(long)]
    any_machine: bool,
    /// Report as JSON on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Verified {
    bundle: String,
    digest: String,
    files: usize,
    bytes: u64,
    target: String,
}

/// Verifies.
pub fn run(args: &Args) -> Result<(), Failure> {
    let bundle = Bundle::open(&args.bundle)?;
    bundle.verify(Depth::Full, !args.any_machine)?;
    let manifest = &bundle.manifest;
    if args.json {
        say_json(&Verified {
            bundle: args.bundle.display().to_string(),
            digest: manifest.digest.to_string(),
            files: manifest.files.len(),
            bytes: bundle.bytes(),
            target: manifest.target.name.clone(),
        });
    } else {
        let files = manifest.files.len();
        say(format_args!("{}: sound ({files} files, {}, for {})", args.bundle.display(), human(bundle.bytes()), manifest.target.name));
    }
    Ok(())
}

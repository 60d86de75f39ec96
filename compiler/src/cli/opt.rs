//! `slmc opt`: runs passes over IR in text form and prints the result.
//!
//! What the text holds decides which passes there are: those over graphs, or those over kernels and plans.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use slmc::pipeline::name_matches;
use slmc::target::TargetSpec;
use slmc_ir::graph::Graph;
use slmc_ir::plan::Program;
use slmc_ir::target::Target;
use slmc_passes::graph::GRAPH_PASSES;
use slmc_passes::kernel::KERNEL_PASSES;
use slmc_passes::manager::{self, Drive, PassCx, PassInfo, PassSpec, Subject};

use super::input;
use crate::progress::seconds;
use crate::report::{Failure, columns, note, put};

/// Arguments of `slmc opt`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A graph, or kernels with or without a plan, as `slmc compile --dump-ir` writes them; `-` for standard input
    file: PathBuf,
    /// Passes in order, e.g. 'fold,quantize{body=q8g32},fuse'; none verifies and prints in canonical form
    #[arg(long, value_name = "LIST", default_value = "")]
    passes: String,
    /// Device, for passes that depend on it; `x86_64-avx2,dot=none` changes what it is said to have
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Code generator: the target as this one can use it, as a compile takes it
    #[arg(long, value_name = "NAME", requires = "target")]
    backend: Option<String>,
    /// Write the result to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the time of each pass on standard error
    #[arg(long)]
    time: bool,
}

/// Runs passes.
pub fn run(args: &Args) -> Result<(), Failure> {
    let name = args.file.display();
    let text = input::text(&args.file)?;
    let parse = |e: slmc_ir::diag::ParseError| Failure::new(format_args!("{name}:{e}"));
    let mut target = args.target.as_deref().map(TargetSpec::parse).transpose()?.map(|spec| spec.target);
    if let Some(backend) = &args.backend {
        let backend = slmc_backends::lookup(backend).map_err(Failure::new)?;
        target = target.map(|target| backend.fit(&target));
    }
    let result = if Program::is_in(&text) {
        optimized(args, Program::parse(&text).map_err(parse)?, KERNEL_PASSES, target.as_ref())?
    } else {
        optimized(args, Graph::parse(&text).map_err(parse)?, GRAPH_PASSES, target.as_ref())?
    };
    match &args.output {
        None => put(result),
        Some(path) => fs::write(path, result).map_err(|e| Failure::new(format_args!("{}: {e}", path.display())))?,
    }
    Ok(())
}

/// The text of `m` after the passes, which are among `all`.
fn optimized<M: Subject>(args: &Args, mut m: M, all: &[&'static PassInfo<M>], target: Option<&Target>) -> Result<String, Failure> {
    let specs = if args.passes.trim().is_empty() { Vec::new() } else { PassSpec::parse_list(&args.passes).map_err(Failure::new)? };
    let start = Instant::now();
    let clock = || start.elapsed();
    let mut cx = PassCx::new(&name_matches, &clock);
    cx.target = target;
    let report =
        manager::run(&mut m, &specs, all, &mut cx, &mut Drive::default()).map_err(|e| Failure::new(format_args!("{}: {e}", args.file.display())))?;
    if args.time {
        let rows: Vec<Vec<String>> = report.times.iter().map(|pass| vec![pass.name.to_owned(), seconds(pass.run)]).collect();
        note(columns(&rows));
    }
    Ok(m.text())
}

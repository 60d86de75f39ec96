//! `slmc opt`: runs passes over a graph in text form and prints the result.

use std::fs;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::time::Instant;

use slmc::pipeline::name_matches;
use slmc::target::TargetSpec;
use slmc_ir::graph::Graph;
use slmc_passes::graph::GRAPH_PASSES;
use slmc_passes::manager::{self, Drive, PassCx, PassSpec};

use crate::progress::seconds;
use crate::report::{Failure, columns, note, put};

/// Arguments of `slmc opt`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A graph as `slmc compile --dump-ir` writes it, or `-` for standard input
    file: PathBuf,
    /// Passes in order, e.g. 'fold,quantize{body=q8g32},fuse'; none verifies and prints in canonical form
    #[arg(long, value_name = "LIST", default_value = "")]
    passes: String,
    /// Device, for passes that depend on it
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
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
    let text = if args.file.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map_err(|e| Failure::new(format_args!("standard input: {e}")))?;
        text
    } else {
        fs::read_to_string(&args.file).map_err(|e| Failure::new(format_args!("{name}: {e}")))?
    };
    let mut graph = Graph::parse(&text).map_err(|e| Failure::new(format_args!("{name}:{e}")))?;
    let target = args.target.as_deref().map(TargetSpec::parse).transpose()?.map(|spec| spec.target);
    let specs = if args.passes.trim().is_empty() { Vec::new() } else { PassSpec::parse_list(&args.passes).map_err(Failure::new)? };
    let start = Instant::now();
    let clock = || start.elapsed();
    let mut cx = PassCx::new(&name_matches, &clock);
    cx.target = target.as_ref();
    let report =
        manager::run(&mut graph, &specs, GRAPH_PASSES, &mut cx, &mut Drive::default()).map_err(|e| Failure::new(format_args!("{name}: {e}")))?;
    if args.time {
        let rows: Vec<Vec<String>> = report.times.iter().map(|pass| vec![pass.name.to_owned(), seconds(pass.run)]).collect();
        note(columns(&rows));
    }
    let text = graph.to_string();
    match &args.output {
        None => put(text),
        Some(path) => fs::write(path, text).map_err(|e| Failure::new(format_args!("{}: {e}", path.display())))?,
    }
    Ok(())
}

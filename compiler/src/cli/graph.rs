//! `slmc graph`: a picture of a model's graph.

use std::fs;
use std::path::PathBuf;

use slmc::picture;
use slmc::pipeline::{self, CompileOptions};
use slmc::target::TargetSpec;
use slmc_ir::graph::Graph;
use slmc_ir::graph::verify::verify;

use super::input;
use crate::report::{Failure, put};

/// Arguments of `slmc graph`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A checkpoint, or a graph as `slmc compile --dump-ir` writes it
    model: PathBuf,
    /// Where to write the picture; standard output if not given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The graph after a pass of a compile: import, fold, share, quantize or fuse
    #[arg(long, value_name = "PASS", default_value = "import")]
    after: String,
    /// Scheme of the weights, as for `slmc compile`
    #[arg(long, default_value = "q4g32")]
    quant: String,
    /// Device that the passes are for
    #[arg(long, value_name = "TARGET", default_value = "host")]
    target: String,
    /// Most tokens in the cache
    #[arg(long, value_name = "TOKENS")]
    ctx: Option<usize>,
}

/// Draws.
pub fn run(args: &Args) -> Result<(), Failure> {
    let graph = if args.model.is_dir() { of_checkpoint(args)? } else { of_text(args)? };
    let picture = picture::draw(&graph);
    match &args.output {
        None => put(picture),
        Some(path) => fs::write(path, picture).map_err(|e| Failure::new(format_args!("{}: {e}", path.display())))?,
    }
    Ok(())
}

fn of_checkpoint(args: &Args) -> Result<Graph, Failure> {
    let target = TargetSpec::parse(&args.target)?;
    let options = CompileOptions { quant: args.quant.clone(), ctx: args.ctx, ..CompileOptions::new(args.model.clone(), PathBuf::new(), target) };
    Ok(pipeline::graph_after(&options, &args.after)?)
}

fn of_text(args: &Args) -> Result<Graph, Failure> {
    let text = input::text(&args.model)?;
    let failure =
        |detail: String| Failure::new(format_args!("{}:{detail}", args.model.display())).hint("give a checkpoint, or a dump of import to fuse");
    let graph = Graph::parse(&text).map_err(|e| failure(e.to_string()))?;
    match verify(&graph) {
        Ok(_) => Ok(graph),
        Err(faults) => Err(failure(format!(" {}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))),
    }
}

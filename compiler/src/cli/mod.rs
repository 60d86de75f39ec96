//! The command line: one file per command, each with its arguments and its `run`.

mod aside;
mod bench;
mod busy;
mod check;
mod compare;
mod compile;
mod device;
mod devices;
mod doctor;
mod eval;
mod graph;
mod input;
mod inspect;
mod logits;
mod model;
mod opened;
mod opt;
mod package;
mod passage;
mod passes;
mod ppl;
mod roofline;
mod run;
mod sampling;
mod targets;
mod tune;
mod verify;

use clap::{Parser, Subcommand};

use crate::report::Failure;

/// Ahead-of-time compiler for small language models.
#[derive(Debug, Parser)]
#[command(name = "slmc", version, arg_required_else_help = true, subcommand_required = true)]
#[command(after_help = "Start with:\n  slmc compile MODEL -o MODEL.slm\n  slmc run MODEL.slm")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compile a checkpoint into a bundle for one device
    Compile(Box<compile::Args>),
    /// Answer a prompt or a chat, or converse
    Run(run::Args),
    /// Write the logits of token ids as safetensors
    Logits(logits::Args),
    /// Measure tokens per second
    Bench(bench::Args),
    /// Search schedule parameters for this machine by measuring
    Tune(tune::Args),
    /// Compare a bundle with its checkpoint: logits, divergence, tokens
    Check(check::Args),
    /// Measure the perplexity of a text under a bundle or a checkpoint
    Ppl(ppl::Args),
    /// Compare two models on a text: perplexity, divergence, likeliest tokens
    Compare(compare::Args),
    /// Count the golden questions that a bundle or a checkpoint answers right
    Eval(eval::Args),
    /// Check every byte of a bundle against its manifest
    Verify(verify::Args),
    /// Say what is in a bundle or a checkpoint
    Inspect(inspect::Args),
    /// Make a library for an app of bundles: XCFramework, AAR, or a folder for C
    Package(package::Args),
    /// Draw a model's graph
    Graph(graph::Args),
    /// List the kinds of device there are to compile for
    Targets(targets::Args),
    /// List the GPUs of this machine
    Devices(devices::Args),
    /// Say what this machine and this build lack, and what that costs
    Doctor(doctor::Args),
    /// List the passes and phases of a compile
    Passes(passes::Args),
    /// Run passes over IR text
    Opt(opt::Args),
}

impl Command {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Compile(args) => compile::run(args),
            Self::Run(args) => run::run(args),
            Self::Logits(args) => logits::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Tune(args) => tune::run(args),
            Self::Check(args) => check::run(args),
            Self::Ppl(args) => ppl::run(args),
            Self::Compare(args) => compare::run(args),
            Self::Eval(args) => eval::run(args),
            Self::Verify(args) => verify::run(args),
            Self::Inspect(args) => inspect::run(args),
            Self::Package(args) => package::run(args),
            Self::Graph(args) => graph::run(args),
            Self::Targets(args) => targets::run(args),
            Self::Devices(args) => devices::run(args),
            Self::Doctor(args) => doctor::run(args),
            Self::Passes(args) => passes::run(args),
            Self::Opt(args) => opt::run(args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn arguments_are_sound() {
        Cli::command().debug_assert();
    }
}

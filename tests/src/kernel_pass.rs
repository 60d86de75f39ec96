//! Runs one kernel pass as a filetest does, with the laws that every kernel pass keeps.
//!
//! The round-trip laws hold before and after; the pass says truly whether it changed anything; a second run changes nothing;
//! every kernel computes what it did before, by the interpreter.

use std::time::Duration;

use slmc_ir::plan::Program;
use slmc_ir::target::Target;
use slmc_passes::manager::{self, Drive, Options, PassCx, PassInfo, PassSpec, PipelineError, RunReport};

use crate::{kernel_meaning, round_trip};

/// The text after the pass, or `error: …` if it gives up. `Err` is a text that does not parse, or a broken law.
pub fn run(info: &'static PassInfo<Program>, text: &str, target: Option<&Target>) -> Result<String, String> {
    let before = Program::parse(text).map_err(|e| e.to_string())?;
    round_trip::program(&before)?;
    let mut after = before.clone();
    let report = match once(info, &mut after, target) {
        Ok(report) => report,
        Err(e) => return Ok(format!("error: {e}\n")),
    };
    round_trip::program(&after)?;
    let (said, is) = (report.times.iter().any(|t| t.changed), after.to_string() != before.to_string());
    if said != is {
        return Err(format!("{} says that it {}, but it {}", info.name, did(said), did(is)));
    }
    let mut again = after.clone();
    once(info, &mut again, target).map_err(|e| format!("a second run: {e}"))?;
    if again != after {
        return Err(format!("a second run of {} gives something else:\n{again}", info.name));
    }
    for (b, a) in before.kernels.kernels.iter().zip(after.kernels.kernels.iter()) {
        kernel_meaning::same(b.1, a.1).map_err(|e| format!("@{}: {e}", b.1.name))?;
    }
    Ok(after.to_string())
}

fn once(info: &'static PassInfo<Program>, program: &mut Program, target: Option<&Target>) -> Result<RunReport, PipelineError> {
    let (matches, clock) = (|_: &str, _: &str| Ok(false), || Duration::ZERO);
    let mut cx = PassCx::new(&matches, &clock);
    cx.target = target;
    manager::run(program, &[PassSpec::new(info.name, Options::new())], &[info], &mut cx, &mut Drive::default())
}

fn did(changed: bool) -> &'static str {
    if changed { "changed the program" } else { "changed nothing" }
}

//! `test interp`: runs one kernel by the interpreter and prints what its writable parameters hold, or the fault.
//!
//! Comments say what goes in: `; in %x = 1 2.5 0*6` for each parameter (none: zeros), `; step t = 2, p = 0, row = 0` (not
//! given: the least of its bounds) and `; tiles 2, 1, 1` (not given: the kernel's grid). The kernel has to be sound, but may
//! fail the verifier's range rules: then the interpreter shows the fault.

use std::fmt::Write;

use slmc_ir::interp::kernel::{Compiled, Memory, Step, run_grid};
use slmc_ir::kernel::{Access, Buffer, Kernel, KernelModule};
use slmc_ir::plan::Program;

use super::{Command, Outcome};
use crate::file::TestFile;
use crate::{numbers, round_trip};

/// Row of the command list.
pub static COMMAND: Command = Command { name: "interp", run };

fn run(file: &TestFile) -> Result<Outcome, String> {
    let module = KernelModule::parse(&file.input).map_err(|e| e.to_string())?;
    let kernels: Vec<&Kernel> = module.kernels.iter().map(|(_, k)| k).collect();
    let [kernel] = kernels[..] else { return Err(format!("expected one kernel, found {}", kernels.len())) };
    round_trip::program(&Program { kernels: module.clone(), plan: None })?;
    let code = Compiled::new(kernel).map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let comments: Vec<&str> = file.input.lines().filter_map(|l| l.strip_prefix("; ")).collect();
    let mut step = Step { t: kernel.bounds.t.0, p: kernel.bounds.p.0, row: kernel.bounds.row.0 };
    let mut tiles = kernel.grid;
    for comment in &comments {
        if let Some(text) = comment.strip_prefix("step ") {
            step = read_step(step, text)?;
        } else if let Some(text) = comment.strip_prefix("tiles ") {
            let numbers: Vec<u32> = text.split(',').map_while(|n| n.trim().parse().ok()).collect();
            tiles = numbers.try_into().map_err(|_| format!("`; tiles {text}`: expected three numbers"))?;
        }
    }
    let params: Vec<&Buffer> = kernel.params().map(|(_, b)| b).collect();
    let mut bytes = inputs(&params, &comments)?;
    let (mut memory, places) = Memory::of_slices(bytes.iter_mut().map(Vec::as_mut_slice).collect());
    let mut output = match run_grid(&code, &mut memory, &places, step, tiles) {
        Ok(()) => String::new(),
        Err(fault) => format!("fault: {fault}\n"),
    };
    for (b, bytes) in params.iter().zip(&bytes).filter(|(b, _)| b.access != Access::Read) {
        let _ = writeln!(output, "%{} = {}", b.name, numbers::print(b.elem.scalar, bytes));
    }
    Ok(Outcome::Output(output))
}

fn read_step(mut step: Step, text: &str) -> Result<Step, String> {
    for part in text.split(',') {
        let bad = || format!("`; step {text}`: expected `t = N`, `p = N` or `row = N`, found `{}`", part.trim());
        let (name, value) = part.split_once('=').ok_or_else(bad)?;
        let value = value.trim().parse().map_err(|_| bad())?;
        match name.trim() {
            "t" => step.t = value,
            "p" => step.p = value,
            "row" => step.row = value,
            _ => return Err(bad()),
        }
    }
    Ok(step)
}

/// The bytes of every parameter. `Err` names inputs for what is no parameter, or of another length.
fn inputs(params: &[&Buffer], comments: &[&str]) -> Result<Vec<Vec<u8>>, String> {
    let size = |b: &Buffer| b.len as usize * b.elem.bytes() as usize;
    let mut bytes: Vec<Vec<u8>> = params.iter().map(|b| vec![0; size(b)]).collect();
    for line in comments.iter().filter_map(|c| c.strip_prefix("in ")) {
        let (name, text) = line.split_once('=').ok_or_else(|| format!("`; in {line}`: expected `%NAME = NUMBERS`"))?;
        let at = params.iter().position(|b| name.trim().strip_prefix('%') == Some(&b.name));
        let at = at.ok_or_else(|| format!("`; in {line}`: the kernel has no parameter {}", name.trim()))?;
        let found = numbers::parse(params[at].elem.scalar, text).map_err(|e| format!("`; in {line}`: {e}"))?;
        if found.len() != bytes[at].len() {
            return Err(format!("`; in {line}`: {} bytes for a parameter of {}", found.len(), bytes[at].len()));
        }
        bytes[at] = found;
    }
    Ok(bytes)
}

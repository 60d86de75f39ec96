//! Which dispatches may run beside those before them.
//!
//! A dispatch waits for all before it unless it says otherwise. On a GPU every wait is a barrier that drains the device, so this
//! pass finds the dispatches that need none: those that share no byte with the dispatches since the last one that waits, that
//! one included, that either side writes. Parts of a split matrix are the usual case. It looks at bytes, so it runs after
//! `memory`. CPUs run dispatches one after another anyway; plans for them stay as they are.

use slmc_ir::kernel::KernelModule;
use slmc_ir::plan::hazard::{Touched, conflict, touched};
use slmc_ir::plan::{Dispatch, Plan, Program};

use crate::manager::{Changed, OptionError, Options, Pass, PassCx, PassError, PassInfo};

/// Row of the pass list.
pub static INFO: PassInfo<Program> =
    PassInfo { name: "overlap", summary: "find dispatches that need not wait for those before them", options: &[], build };

struct Overlap;

fn build(options: &Options) -> Result<Box<dyn Pass<Program>>, OptionError> {
    options.reader(INFO.name).finish(Box::new(Overlap))
}

impl Pass<Program> for Overlap {
    fn info(&self) -> &'static PassInfo<Program> {
        &INFO
    }

    fn run(&self, m: &mut Program, cx: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let Some(plan) = &mut m.plan else {
            return Err(PassError::Unsupported(vec!["there is no plan to look at, only kernels; give a file with a `plan`".to_owned()]));
        };
        if cx.target.is_some_and(|target| target.gpu.is_none()) {
            return Ok(Changed::No);
        }
        let before = plan.clone();
        mark(plan, &m.kernels);
        Ok(Changed::when(*plan != before))
    }
}

/// Sets [`Dispatch::beside`] wherever the byte ranges of the plan admit it.
pub fn mark(plan: &mut Plan, kernels: &KernelModule) {
    let marks: Vec<Vec<bool>> = plan.lists().iter().map(|(_, list)| beside(plan, kernels, list)).collect();
    for (list, marks) in plan.lists_mut().into_iter().zip(marks) {
        for (dispatch, mark) in list.iter_mut().zip(marks) {
            dispatch.beside = mark;
        }
    }
}

fn beside(plan: &Plan, kernels: &KernelModule, list: &[Dispatch]) -> Vec<bool> {
    let mut running: Vec<Vec<Touched>> = Vec::new();
    list.iter()
        .map(|dispatch| {
            let mine = touched(plan, kernels, dispatch);
            // The first of a list follows another list, or the host.
            let free = !running.is_empty() && running.iter().all(|other| conflict(&mine, other).is_none());
            if !free {
                running.clear();
            }
            running.push(mine);
            free
        })
        .collect()
}

//! What the back ends for CPUs share: the names of kernels, what the bounds of a kernel fix, what no CPU kernel may have, and the
//! work of many threads on many kernels.

use crate::{BackendError, Unsupported};
use slmc_ir::kernel::{Buffer, Kernel, Space};

/// Most bytes of arrays that a kernel may have on the stack.
const STACK: u64 = 128 << 10;

/// The symbol of a kernel.
pub(crate) fn symbol(kernel: &str) -> String {
    format!("slmc_k_{kernel}")
}

/// What the bounds fix of `T`, `P`, `ROW` and the tile's place.
pub(crate) fn fixed(kernel: &Kernel) -> [Option<u32>; 6] {
    let single = |(least, most): (u32, u32)| (least == most).then_some(least);
    let only = |tiles: u32| (tiles == 1).then_some(0);
    let (b, g) = (kernel.bounds, kernel.grid);
    [single(b.t), single(b.p), single(b.row), only(g[0]), only(g[1]), only(g[2])]
}

/// What is wrong with a kernel as a whole.
pub(crate) fn kernel_faults(kernel: &Kernel, found: &mut Vec<Unsupported>) {
    let mut fault = |what: String, hint| found.push(Unsupported { at: format!("kernel `{}`", kernel.name), what, hint });
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if kernel.name.is_empty() || !kernel.name.chars().all(word) {
        fault("its name is not an identifier".into(), "use letters, digits and underscores");
    }
    if kernel.lanes != 1 {
        fault(format!("a workgroup of {} lanes", kernel.lanes), "lower for a CPU target: one lane a tile");
    }
    let bytes = |b: &Buffer| u64::from(b.len) * u64::from(b.elem.bytes());
    let stack: u64 = kernel.buffers.iter().filter(|(_, b)| b.space != Space::Param).map(|(_, b)| bytes(b)).sum();
    if stack > STACK {
        fault(format!("private arrays of {stack} bytes"), "keep them within 128 KiB or put them into the arena");
    }
}

/// What `compile` makes of every kernel, in their order, thread i taking kernels i, i + threads, ….
pub(crate) fn on_threads<T: Send>(
    kernels: &[&Kernel],
    threads: usize,
    compile: impl Fn(&Kernel) -> Result<T, BackendError> + Sync,
) -> Result<Vec<T>, BackendError> {
    let (threads, compile) = (threads.clamp(1, kernels.len().max(1)), &compile);
    let mut results: Vec<(usize, Result<T, BackendError>)> = std::thread::scope(|scope| {
        let share = |first: usize| kernels.iter().enumerate().skip(first).step_by(threads);
        let workers: Vec<_> = (1..threads).map(|i| scope.spawn(move || share(i).map(|(n, k)| (n, compile(k))).collect::<Vec<_>>())).collect();
        let mut all: Vec<_> = share(0).map(|(n, k)| (n, compile(k))).collect();
        for worker in workers {
            match worker.join() {
                Ok(part) => all.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    results.sort_by_key(|(n, _)| *n);
    results.into_iter().map(|(_, r)| r).collect()
}

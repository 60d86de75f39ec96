//! The processor: generated functions over a pool of threads, weights straight from the mapped file.

use core::sync::atomic::{AtomicPtr, Ordering};

use super::{NAME_BYTES, Opening, Read, Run, Timed, logits_offset};
use crate::abi::region;
use crate::bundle::Bundle;
use crate::fault::{Code, Fault, Outcome};
use crate::plan::Plan;
use crate::platform::memory::{Table, Workspace};
use crate::platform::unix;
use crate::pool::{Pool, Work};
use crate::walk::{Kernels, Walk};

/// The threads of a model, its code and its weights.
pub struct Cpu<'b> {
    bundle: &'b Bundle,
    kernels: Kernels,
    pool: Pool,
}

/// A session's memory. Kernels reach it by address during a run, the host by slices between runs.
pub struct CpuMemory<'m> {
    cpu: &'m Cpu<'m>,
    arena: Workspace,
    _kv: Workspace,
    /// The address of every binding of the plan.
    addresses: Table<AtomicPtr<u8>>,
}

impl<'b> Cpu<'b> {
    /// Keeps the pool for the sessions.
    ///
    /// # Errors
    /// [`Code::Device`] if a device other than 0 is asked for.
    pub fn open(opening: &Opening<'_, 'b>, pool: Pool) -> Outcome<Self> {
        if opening.number > 1 {
            return Err(
                Fault::new(Code::Device, "device", "number is too high: the processor is the only one").numbers(0, (opening.number - 1).into())
            );
        }
        Ok(Self { bundle: opening.bundle, kernels: opening.kernels, pool })
    }

    /// See [`super::Device::name`].
    pub fn name() -> [u8; NAME_BYTES] {
        let mut name = [0; NAME_BYTES];
        name[..3].copy_from_slice(b"CPU");
        name
    }

    /// Threads, the caller's included.
    pub fn threads(&self) -> u32 {
        self.pool.threads()
    }

    /// See [`super::Device::memory`].
    ///
    /// # Errors
    /// [`Code::Memory`].
    pub fn memory(&self, plan: &Plan<'_>) -> Outcome<CpuMemory<'_>> {
        let header = &plan.header;
        let memory = |what| move |errno| Fault::system(Code::Memory, "session", what, errno);
        let arena = Workspace::zeroed(header.arena_bytes).map_err(memory("no memory for the arena"))?;
        let kv = Workspace::zeroed(header.kv_bytes).map_err(memory("no memory for the KV cache"))?;
        let addresses: Table<AtomicPtr<u8>> = Table::zeroed(header.bindings.count as usize).map_err(memory("no memory for bindings"))?;
        for (index, address) in addresses.iter().enumerate() {
            let binding = plan.binding(index as u32);
            let base = match binding.region {
                region::ARENA => arena.address(),
                region::KV => kv.address(),
                _ => self.bundle.weights().map.address(),
            };
            address.store(base.wrapping_add(binding.offset as usize), Ordering::Relaxed);
        }
        Ok(CpuMemory { cpu: self, arena, _kv: kv, addresses })
    }
}

impl CpuMemory<'_> {
    /// See [`super::Memory::run`]: everything is readable afterwards.
    ///
    /// # Errors
    /// None, as functions on the processor cannot fail; the type is that of all devices.
    pub fn run(&mut self, plan: &Plan<'_>, ids: &[u32], runs: &[Run], _read: Read) -> Outcome<()> {
        self.arena.values_mut::<u32>(plan.header.token_ids, ids.len()).copy_from_slice(ids);
        for run in runs {
            self.cpu.pool.run(&self.walk(plan, run));
        }
        Ok(())
    }

    fn walk<'a>(&'a self, plan: &'a Plan<'_>, run: &Run) -> Walk<'a> {
        Walk { plan, kernels: self.cpu.kernels, addresses: &self.addresses, list: run.list, step: run.step }
    }

    /// See [`super::Memory::profile`].
    ///
    /// # Errors
    /// None, as above.
    pub fn profile(&mut self, plan: &Plan<'_>, ids: &[u32], runs: &[Run], take: Timed<'_>) -> Outcome<()> {
        self.arena.values_mut::<u32>(plan.header.token_ids, ids.len()).copy_from_slice(ids);
        for run in runs {
            let walk = self.walk(plan, run);
            for index in 0..plan.header.lists[run.list].count {
                let start = unix::clock_ns();
                self.cpu.pool.run(&Alone { walk: &walk, index });
                if walk.tiles(index).is_some_and(|tiles| tiles > 0) {
                    take(plan.dispatch(run.list, index).kernel, unix::clock_ns() - start);
                }
            }
        }
        Ok(())
    }

    /// See [`super::Memory::fetch_logits`]: nothing to do.
    ///
    /// # Errors
    /// None, as above.
    pub fn fetch_logits(&mut self, _plan: &Plan<'_>, _rows: u32) -> Outcome<()> {
        Ok(())
    }

    /// See [`super::Memory::logits`].
    pub fn logits(&self, plan: &Plan<'_>, row: u32, count: usize) -> &[f32] {
        self.arena.values(logits_offset(plan, row), count)
    }

    /// See [`super::Memory::picked`].
    pub fn picked(&self, plan: &Plan<'_>) -> u32 {
        self.arena.values(plan.header.picked, 1).first().copied().unwrap_or(0)
    }
}

/// One dispatch of a list.
struct Alone<'a> {
    walk: &'a Walk<'a>,
    index: u32,
}

impl Work for Alone<'_> {
    fn tiles(&self, stage: u32) -> Option<u32> {
        if stage == 0 { self.walk.tiles(self.index) } else { None }
    }

    fn run(&self, _stage: u32, tile: u32) {
        self.walk.run(self.index, tile);
    }
}

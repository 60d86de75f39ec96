//! What a session has on a Metal device: arena and KV cache, which the processor reads and writes between runs.

use super::buffers::Buffer;
use super::commands::{self, Regions};
use super::device::Metal;
use crate::device::{Read, Run, logits_offset};
use crate::fault::Outcome;
use crate::plan::Plan;

/// A session's memory. Nothing runs on the GPU between calls, so the processor may touch it then.
pub struct MetalMemory<'m> {
    metal: &'m Metal<'m>,
    arena: Buffer,
    kv: Buffer,
}

impl<'m> MetalMemory<'m> {
    pub(super) fn new(metal: &'m Metal<'_>, plan: &Plan<'_>) -> Outcome<Self> {
        let arena = Buffer::zeroed(&metal.gpu, plan.header.arena_bytes, "gives no memory for the arena")?;
        let kv = Buffer::zeroed(&metal.gpu, plan.header.kv_bytes, "gives no memory for the KV cache")?;
        Ok(Self { metal, arena, kv })
    }

    /// See [`crate::device::Memory::run`]: everything is readable afterwards.
    ///
    /// # Errors
    /// [`Code::Device`](crate::fault::Code::Device).
    pub fn run(&mut self, plan: &Plan<'_>, ids: &[u32], runs: &[Run], _read: Read) -> Outcome<()> {
        self.arena.values_mut::<u32>(plan.header.token_ids, ids.len()).copy_from_slice(ids);
        let regions = Regions { arena: &self.arena, weights: &self.metal.weights, kv: &self.kv };
        commands::run(self.metal, plan, regions, runs)
    }

    /// See [`crate::device::Memory::fetch_logits`]: nothing to do.
    ///
    /// # Errors
    /// None, as the memory is shared; the type is that of all devices.
    pub fn fetch_logits(&mut self, _plan: &Plan<'_>, _rows: u32) -> Outcome<()> {
        Ok(())
    }

    /// See [`crate::device::Memory::logits`].
    pub fn logits(&self, plan: &Plan<'_>, row: u32, count: usize) -> &[f32] {
        self.arena.values(logits_offset(plan, row), count)
    }

    /// See [`crate::device::Memory::picked`].
    pub fn picked(&self, plan: &Plan<'_>) -> u32 {
        self.arena.values(plan.header.picked, 1).first().copied().unwrap_or(0)
    }
}

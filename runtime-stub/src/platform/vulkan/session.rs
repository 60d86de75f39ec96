//! A session on a Vulkan device: arena and KV cache, a descriptor set for each dispatch, and how a step is recorded.
//!
//! The grid of a dispatch depends on the step, so commands are recorded anew each time, which takes a small part of the
//! time that the device takes for them. Sets are written once, when the session opens.

use super::Vulkan;
use super::commands::{ALL, COPIES, Commands, HOST, KERNELS, barrier, copy};
use super::ffi::*;
use super::memory::{Buffer, Use};
use super::pieces::Pieces;
use super::profile::Profile;
use super::result::check;
use crate::abi::{Dispatch, MAX_PARAMETERS, Step, dispatch_flag, list, region};
use crate::device::{Read, Run, Timed, logits_offset};
use crate::fault::{Code, Fault, Outcome};
use crate::plan::Plan;
use crate::platform::memory::Table;

/// Bytes that one command can carry to a buffer.
const UPDATE_BYTES: usize = 65_536;

/// Where the picked id stands in the buffer that the host reads; logits follow.
const PICKED_AT: u64 = 0;
const LOGITS_AT: u64 = 256;

/// What a session has on the device.
pub struct VulkanMemory<'m> {
    vulkan: &'m Vulkan,
    arena: Buffer,
    kv: Pieces,
    /// What the host reads, where it does not reach the arena.
    readback: Buffer,
    descriptor_pool: Handle,
    /// A set for each dispatch, list after list.
    sets: Table<u64>,
    /// Index of the first set of each list.
    first_set: [usize; list::COUNT],
    commands: Commands<'m>,
    /// Timestamps of the step that is measured.
    profile: Option<Profile>,
}

impl<'m> VulkanMemory<'m> {
    pub(super) fn open(vulkan: &'m Vulkan, plan: &Plan<'_>) -> Outcome<Self> {
        vulkan.logical.check_alive()?;
        let mut memory = Self {
            vulkan,
            arena: Buffer::NONE,
            kv: Pieces::NONE,
            readback: Buffer::NONE,
            descriptor_pool: 0,
            sets: Table::empty(),
            first_set: [0; list::COUNT],
            commands: Commands::new(&vulkan.logical)?,
            profile: None,
        };
        memory.take_memory(plan)?;
        memory.create_sets(plan)?;
        Ok(memory)
    }

    fn take_memory(&mut self, plan: &Plan<'_>) -> Outcome<()> {
        let (logical, header, settings) = (&self.vulkan.logical, &plan.header, &self.vulkan.settings);
        let purpose = if settings.direct { Use::HostReads } else { Use::Device };
        self.arena = Buffer::new(logical, header.arena_bytes, purpose)?;
        self.kv.create(logical, plan, region::KV, header.kv_bytes, settings.piece_bytes, Use::Device)?;
        if !self.arena.is_mapped() {
            let logits = u64::from(header.head_rows) * u64::from(header.vocab) * 4;
            self.readback = Buffer::new(logical, LOGITS_AT + logits, Use::Download)?;
        }
        let commands = self.commands.begin()?;
        let zero = |buffer: &Buffer| {
            // SAFETY: a buffer that is being recorded and one that is filled whole.
            unsafe { (logical.functions.cmd_fill_buffer)(commands, buffer.handle, 0, WHOLE_SIZE, 0) };
        };
        zero(&self.arena);
        for (_, buffer) in self.kv.iter_mut() {
            zero(buffer);
        }
        self.commands.submit()?;
        self.commands.finish()
    }

    fn create_sets(&mut self, plan: &Plan<'_>) -> Outcome<()> {
        let (logical, pipelines) = (&self.vulkan.logical, &self.vulkan.pipelines);
        let (mut sets, mut descriptors) = (0, 0);
        for list in 0..list::COUNT {
            self.first_set[list] = sets as usize;
            for index in 0..plan.header.lists[list].count {
                sets += 1;
                descriptors += plan.dispatch(list, index).binding_count;
            }
        }
        self.sets = Table::zeroed(sets as usize).map_err(|errno| Fault::system(Code::Memory, "session", "no memory for descriptor sets", errno))?;
        let size = DescriptorPoolSize { descriptor_type: DESCRIPTOR_STORAGE_BUFFER, descriptor_count: descriptors };
        let info = DescriptorPoolCreateInfo { max_sets: sets, pool_size_count: 1, pool_sizes: &size, ..DescriptorPoolCreateInfo::EMPTY };
        // SAFETY: a live device; `info` and what it points to live until the call returns.
        let result = unsafe { (logical.functions.create_descriptor_pool)(logical.handle, &info, core::ptr::null(), &mut self.descriptor_pool) };
        check(result, "vkCreateDescriptorPool")?;
        for list in 0..list::COUNT {
            for index in 0..plan.header.lists[list].count {
                let dispatch = plan.dispatch(list, index);
                let layout = pipelines.set_layout(dispatch.binding_count);
                let info = DescriptorSetAllocateInfo {
                    descriptor_pool: self.descriptor_pool,
                    descriptor_set_count: 1,
                    set_layouts: &layout,
                    ..DescriptorSetAllocateInfo::EMPTY
                };
                let mut set = 0;
                // SAFETY: the pool has room for all sets; `info` and what it points to live until the call returns.
                check(unsafe { (logical.functions.allocate_descriptor_sets)(logical.handle, &info, &mut set) }, "vkAllocateDescriptorSets")?;
                self.write_set(plan, &dispatch, set);
                self.sets[self.first_set[list] + index as usize] = set;
            }
        }
        Ok(())
    }

    fn write_set(&self, plan: &Plan<'_>, dispatch: &Dispatch, set: Handle) {
        let logical = &self.vulkan.logical;
        let mut buffers = [DescriptorBufferInfo::EMPTY; MAX_PARAMETERS as usize];
        for (index, info) in (dispatch.first_binding..).zip(&mut buffers[..dispatch.binding_count as usize]) {
            let binding = plan.binding(index);
            let (buffer, offset) = match binding.region {
                region::ARENA => (self.arena.handle, binding.offset),
                region::KV => self.kv.locate(binding.offset),
                _ => self.vulkan.weights.locate(binding.offset),
            };
            *info = DescriptorBufferInfo { buffer, offset, range: binding.len };
        }
        // One after another, as the layout has a binding for each parameter.
        let write = WriteDescriptorSet {
            dst_set: set,
            descriptor_count: dispatch.binding_count,
            descriptor_type: DESCRIPTOR_STORAGE_BUFFER,
            buffer_info: buffers.as_ptr(),
            ..WriteDescriptorSet::EMPTY
        };
        // SAFETY: a set of this layout that no submission uses; the buffers are as long as the plan's regions.
        unsafe { (logical.functions.update_descriptor_sets)(logical.handle, 1, &write, 0, core::ptr::null()) };
    }

    /// See [`crate::device::Memory::run`].
    ///
    /// # Errors
    /// [`Code::Device`], [`Code::Memory`].
    pub fn run(&mut self, plan: &Plan<'_>, ids: &[u32], runs: &[Run], read: Read) -> Outcome<()> {
        self.vulkan.logical.check_alive()?;
        let outcome = self.run_all(plan, ids, runs, read);
        if outcome.is_err() {
            self.commands.settle();
        }
        outcome
    }

    fn run_all(&mut self, plan: &Plan<'_>, ids: &[u32], runs: &[Run], read: Read) -> Outcome<()> {
        let commands = self.commands.begin()?;
        self.record_ids(plan, ids, commands);
        barrier(&self.vulkan.logical, commands, ALL, KERNELS);
        if let Some(profile) = &self.profile {
            profile.reset(&self.vulkan.logical, commands);
        }
        self.mark(commands, None);
        let mut recording = Recording { commands, dispatches: 0, pipeline: 0, waits: false };
        for run in runs {
            self.record_list(plan, run, &mut recording)?;
        }
        self.record_read(plan, read, recording.commands);
        self.commands.submit()?;
        self.commands.finish()
    }

    fn record_ids(&mut self, plan: &Plan<'_>, ids: &[u32], commands: CommandBuffer) {
        let mut bytes = [0; 4096];
        for (part, ids) in (0u64..).zip(ids.chunks(bytes.len() / 4)) {
            for (place, id) in bytes.chunks_exact_mut(4).zip(ids) {
                place.copy_from_slice(&id.to_le_bytes());
            }
            let offset = plan.header.token_ids + part * bytes.len() as u64;
            let bytes = &bytes[..ids.len() * 4];
            const { assert!(4096 <= UPDATE_BYTES) };
            if !self.arena.write(offset, bytes) {
                // SAFETY: a buffer that is being recorded; the ids are inside the arena, as the plan was checked.
                unsafe {
                    (self.vulkan.logical.functions.cmd_update_buffer)(commands, self.arena.handle, offset, bytes.len() as u64, bytes.as_ptr().cast());
                }
            }
        }
    }

    fn record_list(&mut self, plan: &Plan<'_>, run: &Run, recording: &mut Recording) -> Outcome<()> {
        let vulkan = self.vulkan;
        let (logical, pipelines) = (&vulkan.logical, &vulkan.pipelines);
        for index in 0..plan.header.lists[run.list].count {
            let dispatch = plan.dispatch(run.list, index);
            // Stands until it is recorded, also if its own dispatch has nothing to do.
            recording.waits |= dispatch.flags & dispatch_flag::BESIDE == 0 || self.profile.is_some();
            let [x, y, z] = dispatch.grid.map(|extent| extent.tiles(run.step.t, run.step.p));
            if x == 0 || y == 0 || z == 0 {
                continue;
            }
            if recording.dispatches == self.vulkan.settings.batch {
                self.commands.submit()?;
                *recording = Recording { commands: self.commands.begin()?, dispatches: 0, pipeline: 0, ..*recording };
                self.mark(recording.commands, None);
            }
            if core::mem::take(&mut recording.waits) {
                barrier(logical, recording.commands, KERNELS, KERNELS);
            }
            let commands = recording.commands;
            let pipeline = pipelines.pipeline(dispatch.kernel);
            let layout = pipelines.pipeline_layout(dispatch.binding_count);
            let set = self.sets[self.first_set[run.list] + index as usize];
            // SAFETY: a buffer that is being recorded; pipeline, layout and set fit each other, and the grid is within
            // the limits that were checked when the device was chosen.
            unsafe {
                if recording.pipeline != pipeline {
                    (logical.functions.cmd_bind_pipeline)(commands, BIND_POINT_COMPUTE, pipeline);
                }
                (logical.functions.cmd_bind_descriptor_sets)(commands, BIND_POINT_COMPUTE, layout, 0, 1, &set, 0, core::ptr::null());
                (logical.functions.cmd_push_constants)(commands, layout, STAGE_COMPUTE, 0, size_of::<Step>() as u32, (&raw const run.step).cast());
                (logical.functions.cmd_dispatch)(commands, x, y, z);
            }
            recording.pipeline = pipeline;
            recording.dispatches += 1;
            self.mark(commands, Some(dispatch.kernel));
        }
        Ok(())
    }

    /// A timestamp, if the step is measured.
    fn mark(&mut self, commands: CommandBuffer, kernel: Option<u32>) {
        if let Some(profile) = &mut self.profile {
            profile.mark(&self.vulkan.logical, commands, kernel);
        }
    }

    /// See [`crate::device::Memory::profile`].
    ///
    /// # Errors
    /// Those of [`VulkanMemory::run`]; [`Code::State`] if the device has no clock.
    pub fn profile(&mut self, plan: &Plan<'_>, ids: &[u32], runs: &[Run], take: Timed<'_>) -> Outcome<()> {
        let dispatches: u32 = runs.iter().map(|run| plan.header.lists[run.list].count).sum();
        // One behind each dispatch, one before each batch.
        let most = dispatches + dispatches / self.vulkan.settings.batch + 1;
        self.profile = Some(Profile::new(&self.vulkan.logical, most)?);
        let outcome = self.run(plan, ids, runs, Read::Nothing);
        let Some(mut profile) = self.profile.take() else { return outcome };
        let outcome = outcome.and_then(|()| profile.read(&self.vulkan.logical, take));
        self.commands.close();
        if !self.vulkan.logical.is_stuck() {
            profile.destroy(&self.vulkan.logical);
        }
        outcome
    }

    /// Makes visible to the host what it will read.
    fn record_read(&self, plan: &Plan<'_>, read: Read, commands: CommandBuffer) {
        let logical = &self.vulkan.logical;
        let (from, to, bytes) = match read {
            Read::Nothing => return,
            Read::Picked => (plan.header.picked, PICKED_AT, 4),
            Read::Logits(rows) => (plan.header.logits, LOGITS_AT, u64::from(rows) * u64::from(plan.header.vocab) * 4),
        };
        if self.arena.is_mapped() {
            return barrier(logical, commands, KERNELS, HOST);
        }
        barrier(logical, commands, KERNELS, COPIES);
        copy(logical, commands, (self.arena.handle, from), (self.readback.handle, to), bytes);
        barrier(logical, commands, COPIES, HOST);
    }

    /// See [`crate::device::Memory::fetch_logits`].
    ///
    /// # Errors
    /// Those of [`VulkanMemory::run`].
    pub fn fetch_logits(&mut self, plan: &Plan<'_>, rows: u32) -> Outcome<()> {
        if self.arena.is_mapped() {
            return self.vulkan.logical.check_alive();
        }
        self.run(plan, &[], &[], Read::Logits(rows))
    }

    /// See [`crate::device::Memory::logits`].
    pub fn logits(&self, plan: &Plan<'_>, row: u32, count: usize) -> &[f32] {
        let offset = logits_offset(plan, row);
        if self.arena.is_mapped() { self.arena.values(offset, count) } else { self.readback.values(LOGITS_AT + offset - plan.header.logits, count) }
    }

    /// See [`crate::device::Memory::picked`].
    pub fn picked(&self, plan: &Plan<'_>) -> u32 {
        let values = if self.arena.is_mapped() { self.arena.values(plan.header.picked, 1) } else { self.readback.values(PICKED_AT, 1) };
        values.first().copied().unwrap_or(u32::MAX)
    }
}

impl Drop for VulkanMemory<'_> {
    fn drop(&mut self) {
        self.commands.close();
        let logical = &self.vulkan.logical;
        if logical.is_stuck() {
            return;
        }
        // SAFETY: of this device or null; nothing runs that uses its sets.
        unsafe { (logical.functions.destroy_descriptor_pool)(logical.handle, self.descriptor_pool, core::ptr::null()) };
        self.readback.destroy(logical);
        self.kv.destroy(logical);
        self.arena.destroy(logical);
    }
}

/// The state of a command buffer that is being recorded.
#[derive(Clone, Copy)]
struct Recording {
    commands: CommandBuffer,
    dispatches: u32,
    /// The pipeline bound last.
    pipeline: Handle,
    /// A barrier is due before the next dispatch.
    waits: bool,
}

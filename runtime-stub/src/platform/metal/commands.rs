//! Dispatch lists as command buffers: encode, commit, wait.
//!
//! A command buffer holds a bounded number of dispatches, so that none keeps the GPU from others for long. Two are under
//! way at most: one that runs while the next is encoded. Metal runs the buffers of one queue in the order of their commits,
//! and ends one that takes too long with an error, so a wait ends.

use core::ffi::c_void;
use core::ptr;

use super::buffers::Buffer;
use super::device::{Metal, SUBJECT};
use super::library::failed;
use super::objc::{Id, Pool, Size, send};
use crate::abi::{Dispatch, Shader, Step, region};
use crate::device::Run;
use crate::fault::{Code, Fault, Outcome};
use crate::plan::Plan;

/// `MTLCommandBufferStatusCompleted`.
const COMPLETED: usize = 4;

/// The memory of a session, by [`region`].
#[derive(Clone, Copy)]
pub struct Regions<'a> {
    /// Activations.
    pub arena: &'a Buffer,
    /// Weights.
    pub weights: &'a Buffer,
    /// Caches.
    pub kv: &'a Buffer,
}

impl Regions<'_> {
    fn object(&self, number: u32) -> Id {
        match number {
            region::ARENA => self.arena.object.id(),
            region::KV => self.kv.object.id(),
            _ => self.weights.object.id(),
        }
    }
}

/// Does `runs` one after another and returns when the GPU is done with all of them.
///
/// # Errors
/// [`Code::Device`] if Metal gives no command buffer or the GPU reports an error; nothing runs any more then.
pub fn run(metal: &Metal<'_>, plan: &Plan<'_>, regions: Regions<'_>, runs: &[Run]) -> Outcome<()> {
    let mut encoding =
        Encoding { metal, plan, regions, _pool: metal.gpu.objc.pool(), open: None, count: 0, bound: ptr::null_mut(), committed: ptr::null_mut() };
    let encoded = encoding.lists(runs);
    // Also after a failure: what was committed may still run.
    let finished = encoding.finish();
    encoded.and(finished)
}

/// Command buffers under way. They and their encoders live as long as the pool.
struct Encoding<'a> {
    metal: &'a Metal<'a>,
    plan: &'a Plan<'a>,
    regions: Regions<'a>,
    /// The command buffer that is encoded, with its encoder.
    open: Option<(Id, Id)>,
    /// Its dispatches.
    count: u32,
    /// The pipeline that its encoder has.
    bound: Id,
    /// The command buffer committed last, null if there is none or its end was seen.
    committed: Id,
    _pool: Pool,
}

impl Encoding<'_> {
    fn lists(&mut self, runs: &[Run]) -> Outcome<()> {
        for run in runs {
            for index in 0..self.plan.header.lists[run.list].count {
                self.dispatch(&self.plan.dispatch(run.list, index), &run.step)?;
            }
        }
        Ok(())
    }

    /// The open encoder.
    fn encoder(&mut self) -> Outcome<Id> {
        if self.count == self.metal.batch {
            self.commit()?;
        }
        if let Some((_, encoder)) = self.open {
            return Ok(encoder);
        }
        let objc = &self.metal.gpu.objc;
        let none = |what| Fault::new(Code::Device, SUBJECT, what).hint("open the model again");
        // SAFETY: a method of MTLCommandQueue; the result lives as long as the pool.
        let commands = unsafe { send!(objc, self.metal.gpu.queue.id(), command_buffer; Id) };
        if commands.is_null() {
            return Err(none("gives no command buffer"));
        }
        // SAFETY: a method of MTLCommandBuffer; the result lives as long as the pool.
        let encoder = unsafe { send!(objc, commands, encoder; Id) };
        if encoder.is_null() {
            return Err(none("gives no encoder"));
        }
        self.open = Some((commands, encoder));
        (self.count, self.bound) = (0, ptr::null_mut());
        Ok(encoder)
    }

    /// Hands the open command buffer to the GPU and sees the end of the one before.
    fn commit(&mut self) -> Outcome<()> {
        let Some((commands, encoder)) = self.open.take() else { return Ok(()) };
        self.count = 0;
        let objc = &self.metal.gpu.objc;
        // SAFETY: methods of MTLComputeCommandEncoder and MTLCommandBuffer, each called once and in this order.
        unsafe {
            send!(objc, encoder, end_encoding; ());
            send!(objc, commands, commit; ());
        }
        let before = core::mem::replace(&mut self.committed, commands);
        self.end_of(before)
    }

    fn finish(&mut self) -> Outcome<()> {
        let committed = self.commit();
        let last = core::mem::replace(&mut self.committed, ptr::null_mut());
        committed.and(self.end_of(last))
    }

    /// Waits for a committed command buffer, or for nothing if it is null.
    fn end_of(&self, commands: Id) -> Outcome<()> {
        if commands.is_null() {
            return Ok(());
        }
        let objc = &self.metal.gpu.objc;
        // SAFETY: methods of MTLCommandBuffer with these types; the error lives as long as the pool.
        let (status, error) = unsafe {
            send!(objc, commands, wait; ());
            (send!(objc, commands, status; usize), send!(objc, commands, error; Id))
        };
        if status == COMPLETED && error.is_null() {
            return Ok(());
        }
        let fault = Fault::new(Code::Device, SUBJECT, "failed while it ran the model").hint("open the model again");
        // SAFETY: null or the command buffer's error, and the pool is open.
        Err(unsafe { failed(&self.metal.gpu, fault, error) })
    }

    fn dispatch(&mut self, dispatch: &Dispatch, step: &Step) -> Outcome<()> {
        let [width, height, depth] = dispatch.grid.map(|extent| extent.tiles(step.t, step.p) as usize);
        // Metal refuses a grid of no threadgroups.
        if width == 0 || height == 0 || depth == 0 {
            return Ok(());
        }
        let encoder = self.encoder()?;
        self.count += 1;
        let objc = &self.metal.gpu.objc;
        let shader = self.plan.shader(dispatch.kernel);
        let state = self.metal.pipelines.state(dispatch.kernel);
        if state != self.bound {
            // SAFETY: a method of MTLComputeCommandEncoder; the pipeline outlives the encoder.
            unsafe { send!(objc, encoder, set_pipeline, state => Id; ()) };
            self.bound = state;
        }
        self.bind(encoder, dispatch, &shader, step);
        let (grid, group) = (Size { width, height, depth }, Size { width: shader.lanes as usize, height: 1, depth: 1 });
        // SAFETY: a method of MTLComputeCommandEncoder with these types.
        unsafe { send!(objc, encoder, dispatch, grid => Size, group => Size; ()) };
        Ok(())
    }

    fn bind(&self, encoder: Id, dispatch: &Dispatch, shader: &Shader, step: &Step) {
        let objc = &self.metal.gpu.objc;
        for slot in 0..dispatch.binding_count {
            let binding = self.plan.binding(dispatch.first_binding + slot);
            let buffer = self.regions.object(binding.region);
            // SAFETY: a method of MTLComputeCommandEncoder with these types; the buffer outlives the encoder, and the plan
            // proves that the offset lies inside it.
            unsafe { send!(objc, encoder, set_buffer, buffer => Id, binding.offset as usize => usize, slot as usize => usize; ()) };
        }
        let bytes: *const c_void = ptr::from_ref(step).cast();
        // SAFETY: as above; the bytes are copied.
        unsafe { send!(objc, encoder, set_bytes, bytes => *const c_void, size_of::<Step>() => usize, shader.step_slot as usize => usize; ()) };
        let arrays = shader.workgroup_bytes.iter().take(shader.workgroup_count as usize);
        for (slot, &bytes) in arrays.enumerate() {
            // SAFETY: as above.
            unsafe { send!(objc, encoder, set_array, bytes as usize => usize, slot => usize; ()) };
        }
    }
}

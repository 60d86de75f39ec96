//! One dispatch list as one command buffer: encode, commit, wait.

use core::ffi::c_void;
use core::ptr;

use super::buffers::Buffer;
use super::device::{Device, SUBJECT};
use super::library::{Pipelines, failed};
use super::objc::{Id, Objc, Size, send};
use crate::abi::{Dispatch, Shader, Step, region};
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

/// Runs list `list` of `plan` with `step` and returns when the GPU is done.
///
/// # Errors
/// [`Code::Device`] if Metal gives no command buffer or the GPU reports an error; the memory of the session is then
/// undefined.
pub fn run(device: &Device, pipelines: &Pipelines, plan: &Plan<'_>, regions: Regions<'_>, list: usize, step: Step) -> Outcome<()> {
    let objc = &device.objc;
    let _pool = objc.pool();
    let none = |what| Fault::new(Code::Device, SUBJECT, what);
    // SAFETY: a method of MTLCommandQueue; the command buffer lives as long as the pool.
    let commands = unsafe { send!(objc, device.queue.id(), command_buffer; Id) };
    if commands.is_null() {
        return Err(none("gives no command buffer"));
    }
    // SAFETY: a method of MTLCommandBuffer; the encoder lives as long as the pool.
    let encoder = unsafe { send!(objc, commands, encoder; Id) };
    if encoder.is_null() {
        return Err(none("gives no encoder"));
    }
    let mut encoding = Encoding { objc, encoder, pipelines, regions, plan, step, bound: ptr::null_mut() };
    for index in 0..plan.header.lists[list].count {
        encoding.dispatch(&plan.dispatch(list, index));
    }
    // SAFETY: methods of MTLComputeCommandEncoder and MTLCommandBuffer with these types, each called once and in this
    // order; the error lives as long as the pool.
    let (status, error) = unsafe {
        send!(objc, encoder, end_encoding; ());
        send!(objc, commands, commit; ());
        send!(objc, commands, wait; ());
        (send!(objc, commands, status; usize), send!(objc, commands, error; Id))
    };
    if status == COMPLETED && error.is_null() {
        return Ok(());
    }
    // SAFETY: null or the command buffer's error, and the pool is open.
    Err(unsafe { failed(device, none("failed while it ran the model").hint("open the session again"), error) })
}

/// An encoder that is open, and what it has bound.
struct Encoding<'a> {
    objc: &'a Objc,
    encoder: Id,
    pipelines: &'a Pipelines,
    regions: Regions<'a>,
    plan: &'a Plan<'a>,
    step: Step,
    bound: Id,
}

impl Encoding<'_> {
    fn dispatch(&mut self, dispatch: &Dispatch) {
        let [width, height, depth] = dispatch.grid.map(|extent| extent.tiles(self.step.t, self.step.p) as usize);
        // Metal refuses a grid of no threadgroups.
        if width * height * depth == 0 {
            return;
        }
        let shader = self.plan.shader(dispatch.kernel);
        let state = self.pipelines.state(dispatch.kernel);
        if state != self.bound {
            // SAFETY: a method of MTLComputeCommandEncoder; the pipeline outlives the encoder.
            unsafe { send!(self.objc, self.encoder, set_pipeline, state => Id; ()) };
            self.bound = state;
        }
        self.bind(dispatch, &shader);
        let (grid, group) = (Size { width, height, depth }, Size { width: shader.lanes as usize, height: 1, depth: 1 });
        // SAFETY: a method of MTLComputeCommandEncoder with these types.
        unsafe { send!(self.objc, self.encoder, dispatch, grid => Size, group => Size; ()) };
    }

    fn bind(&self, dispatch: &Dispatch, shader: &Shader) {
        for slot in 0..dispatch.binding_count {
            let binding = self.plan.binding(dispatch.first_binding + slot);
            let buffer = self.regions.object(binding.region);
            // SAFETY: as above; the buffer outlives the encoder, and the plan proves that the offset lies inside it.
            unsafe { send!(self.objc, self.encoder, set_buffer, buffer => Id, binding.offset as usize => usize, slot as usize => usize; ()) };
        }
        let bytes: *const c_void = ptr::from_ref(&self.step).cast();
        // SAFETY: as above; the bytes are copied.
        unsafe {
            send!(self.objc, self.encoder, set_bytes, bytes => *const c_void, size_of::<Step>() => usize, shader.step_slot as usize => usize; ())
        };
        let arrays = shader.workgroup_bytes.iter().take(shader.workgroup_count as usize);
        for (slot, &bytes) in arrays.enumerate() {
            // SAFETY: as above.
            unsafe { send!(self.objc, self.encoder, set_array, bytes as usize => usize, slot => usize; ()) };
        }
    }
}

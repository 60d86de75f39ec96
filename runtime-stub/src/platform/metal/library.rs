//! From the text of `kernels.metal` to a pipeline for each shader of the plan.
//!
//! The text is compiled on the device, at open. Metal keeps what it compiled in a cache of its own.

use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::device::{Gpu, SUBJECT};
use super::objc::{Id, Objc, Object, send};
use super::text;
use crate::abi::Shader;
use crate::fault::{Code, Fault, Outcome, Value};
use crate::plan::Plan;
use crate::platform::memory::Table;

/// `MTLLanguageVersion2_3`.
const LANGUAGE: usize = 2 << 16 | 3;

/// The pipelines of a model.
pub struct Pipelines {
    objc: Objc,
    /// One owned pipeline for each shader, null where opening did not come that far.
    states: Table<AtomicPtr<u8>>,
}

impl Pipelines {
    /// Compiles `source` and makes the pipeline of every shader of `plan`.
    ///
    /// # Errors
    /// [`Code::Device`]: the text does not compile, an entry point is missing, a pipeline cannot be made, or the device
    /// has fewer lanes or less threadgroup memory than a shader needs. [`Code::Memory`].
    pub fn build(gpu: &Gpu, source: &[u8], plan: &Plan<'_>) -> Outcome<Self> {
        let count = plan.header.shaders.count;
        let states = Table::zeroed(count as usize).map_err(|errno| Fault::system(Code::Memory, SUBJECT, "no memory for pipelines", errno))?;
        let pipelines = Self { objc: gpu.objc, states };
        let _pool = gpu.objc.pool();
        let library = compile(gpu, source)?;
        for index in 0..count {
            let state = pipeline(gpu, &library, &plan.shader(index), index)?;
            pipelines.states[index as usize].store(state.into_id().cast(), Ordering::Relaxed);
        }
        Ok(pipelines)
    }

    /// The pipeline of a shader, valid as long as `self`.
    pub(super) fn state(&self, shader: u32) -> Id {
        self.states[shader as usize].load(Ordering::Relaxed).cast()
    }
}

impl Drop for Pipelines {
    fn drop(&mut self) {
        for state in self.states.iter() {
            // SAFETY: what was stored is a pipeline that is ours, or null.
            drop(unsafe { self.objc.own(state.load(Ordering::Relaxed).cast()) });
        }
    }
}

fn compile(gpu: &Gpu, source: &[u8]) -> Outcome<Object> {
    let objc = &gpu.objc;
    let fault = |what| Fault::new(Code::Device, "kernels.metal", what);
    let source = text::string(objc, source).ok_or(fault("is not UTF-8"))?;
    let mut error: Id = ptr::null_mut();
    // SAFETY: methods of MTLCompileOptions and MTLDevice with these types; `new` and `new…` give ownership, the error
    // lives as long as the pool of the caller.
    let library = unsafe {
        let class = (objc.runtime.class)(c"MTLCompileOptions".as_ptr());
        let options = objc.own(send!(objc, class, new; Id)).ok_or(fault("cannot be compiled: no compile options"))?;
        send!(objc, options.id(), set_language, LANGUAGE => usize; ());
        // Kernels say themselves where a product and a sum are fused; sums keep their order.
        send!(objc, options.id(), set_fast_math, false => bool; ());
        objc.own(send!(objc, gpu.device.id(), new_library, source.id() => Id, options.id() => Id, &raw mut error => *mut Id; Id))
    };
    // SAFETY: null or an error of the call above, and the caller's pool is open.
    library.ok_or_else(|| unsafe { failed(gpu, fault("does not compile"), error) })
}

fn pipeline(gpu: &Gpu, library: &Object, shader: &Shader, index: u32) -> Outcome<Object> {
    let objc = &gpu.objc;
    let fault = |what| Fault::new(Code::Device, "kernels.metal", what).at(index);
    let name = text::string(objc, shader.entry_text().as_bytes()).ok_or(fault("has an entry point whose name is not UTF-8"))?;
    // SAFETY: a method of MTLLibrary that gives ownership.
    let function = unsafe { objc.own(send!(objc, library.id(), new_function, name.id() => Id; Id)) };
    let function = function.ok_or(fault("has no entry point of a shader's name").hint("take all files from one bundle"))?;
    let mut error: Id = ptr::null_mut();
    // SAFETY: a method of MTLDevice that gives ownership; the error lives as long as the caller's pool.
    let state = unsafe { objc.own(send!(objc, gpu.device.id(), new_pipeline, function.id() => Id, &raw mut error => *mut Id; Id)) };
    // SAFETY: null or an error of the call above, and the caller's pool is open.
    let state = state.ok_or_else(|| unsafe { failed(gpu, fault("has an entry point that makes no pipeline"), error) })?;
    // SAFETY: a method of MTLComputePipelineState with this type.
    let most_lanes = unsafe { send!(objc, state.id(), most_lanes; usize) } as u64;
    if u64::from(shader.lanes) > most_lanes {
        return Err(Fault::new(Code::Device, SUBJECT, "runs fewer lanes of a shader together than it needs")
            .at(index)
            .numbers(shader.lanes.into(), most_lanes));
    }
    if shader.workgroup_total() > gpu.most_threadgroup_memory {
        return Err(Fault::new(Code::Device, SUBJECT, "has less threadgroup memory than a shader needs, in bytes")
            .at(index)
            .numbers(shader.workgroup_total(), gpu.most_threadgroup_memory));
    }
    Ok(state)
}

/// `fault` with what Metal said.
///
/// # Safety
/// `error` is null or a live NSError, and a pool is open.
pub(super) unsafe fn failed(gpu: &Gpu, fault: Fault, error: Id) -> Fault {
    // SAFETY: the caller's promise.
    unsafe { text::keep_description(&gpu.objc, error) };
    fault.values(Value::None, Value::DriverWords)
}

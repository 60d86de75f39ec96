//! What a plan needs of a device, compared with what it has: every lack is named with need and find.

use super::physical::Description;
use crate::abi::{DEVICE_ALIGN, Step, list};
use crate::fault::{Code, Fault, Outcome, Value};
use crate::plan::Plan;

const OTHER_TARGET: &str = "compile the model for a target with lower demands, or run it on another device";

/// Whether the device runs the plan's shaders.
///
/// # Errors
/// [`Code::Device`] names the first feature or limit that is lacking.
pub fn check(plan: &Plan<'_>, device: &Description) -> Outcome<()> {
    if let Some(fault) = device.unusable {
        return Err(fault);
    }
    let needed = plan.header.device_features;
    if needed & !device.features != 0 {
        return Err(Fault::new(Code::Device, "device", "lacks features that the shaders need")
            .values(Value::DeviceFeatures(needed), Value::DeviceFeatures(device.features))
            .hint(OTHER_TARGET));
    }
    let limits = &device.limits;
    let (mut lanes, mut shared, mut buffers) = (0, 0, 0);
    for index in 0..plan.header.shaders.count {
        let shader = plan.shader(index);
        lanes = lanes.max(shader.lanes);
        shared = shared.max(shader.workgroup_total());
        buffers = buffers.max(shader.binding_count);
    }
    let mut grid = [0; 3];
    for list in 0..list::COUNT {
        for index in 0..plan.header.lists[list].count {
            let dispatch = plan.dispatch(list, index);
            for (most, extent) in grid.iter_mut().zip(&dispatch.grid) {
                *most = extent.max.max(*most);
            }
        }
    }
    let binding = (0..plan.header.bindings.count).map(|index| plan.binding(index).len).max().unwrap_or(0);
    at_most(lanes.into(), limits.lanes.into(), "maxComputeWorkGroupInvocations")?;
    at_most(shared, limits.shared_bytes.into(), "maxComputeSharedMemorySize")?;
    at_most(buffers.into(), limits.storage_buffers.into(), "maxPerStageDescriptorStorageBuffers")?;
    at_most(binding, limits.binding_bytes, "maxStorageBufferRange")?;
    at_most(size_of::<Step>() as u64, limits.push_constant_bytes.into(), "maxPushConstantsSize")?;
    at_most(plan.header.arena_bytes, limits.allocation_bytes, "maxMemoryAllocationSize")?;
    for (needed, found) in grid.into_iter().zip(limits.workgroups) {
        at_most(needed.into(), found.into(), "maxComputeWorkGroupCount")?;
    }
    if !DEVICE_ALIGN.is_multiple_of(limits.offset_align.max(1)) {
        return Err(
            Fault::new(Code::Device, "minStorageBufferOffsetAlignment", "of the device is too large").numbers(DEVICE_ALIGN, limits.offset_align)
        );
    }
    Ok(())
}

fn at_most(needed: u64, found: u64, limit: &'static str) -> Outcome<()> {
    if needed <= found {
        return Ok(());
    }
    Err(Fault::new(Code::Device, limit, "of the device is too small").numbers(needed, found).hint(OTHER_TARGET))
}

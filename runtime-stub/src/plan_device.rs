//! What a plan for a GPU has to prove beyond any other: shaders that lie in the kernels file, grids and offsets within
//! portable limits, and for each dispatch that runs beside others that no byte is written on one side and touched on
//! the other.
//!
//! A driver is told only what passed here, so a shader can go wrong by its own code alone, which the code id vouches for.

use crate::abi::{
    DEVICE_ALIGN, Dispatch, MAX_PARAMETERS, MAX_WORKGROUP_ARRAYS, MAX_WORKGROUPS, Shader, device_feature, device_kind, dispatch_flag, file_kind,
    list, region,
};
use crate::fault::{Code, Fault, Outcome, Value};
use crate::plan::{PLAN, Plan, REBUILD, require};

/// Checks what concerns the device; sections, indices and ranges of dispatches and bindings were checked before.
///
/// # Errors
/// [`Code::Format`].
pub(crate) fn check(plan: &Plan<'_>) -> Outcome<()> {
    let header = &plan.header;
    let known = device_feature::NAMES.iter().fold(0, |bits, (bit, _)| bits | bit);
    require(header.device <= device_kind::METAL, "names an unknown kind of device", header.device.into())?;
    require(header.device_features & !known == 0, "names unknown features of a device", header.device_features)?;
    if header.device == device_kind::CPU {
        require(header.shaders.count == 0, "has shaders for a processor", header.shaders.count.into())?;
        return require(header.device_features == 0, "names features of a device for a processor", header.device_features);
    }
    require(header.features == 0, "needs CPU features for a GPU", header.features)?;
    require(header.shaders.count == header.kernel_count, "number of shaders differs from the number of kernels", header.shaders.count.into())?;
    for index in 0..header.shaders.count {
        check_shader(plan, &plan.shader(index), index)?;
    }
    for index in 0..header.bindings.count {
        let binding = plan.binding(index);
        if !binding.offset.is_multiple_of(DEVICE_ALIGN) || binding.len == 0 || !binding.len.is_multiple_of(4) {
            return Err(malformed("binding is not made for a GPU", index).numbers(DEVICE_ALIGN, binding.offset));
        }
    }
    for list in 0..list::COUNT {
        check_list(plan, list)?;
    }
    Ok(())
}

fn check_shader(plan: &Plan<'_>, shader: &Shader, index: u32) -> Outcome<()> {
    let file = plan.file(file_kind::KERNELS).bytes;
    if shader.bytes == 0 || shader.offset > file || shader.bytes > file - shader.offset {
        return Err(malformed("shader leaves the kernels file", index).numbers(file, shader.offset.saturating_add(shader.bytes)));
    }
    let words = plan.header.device != device_kind::VULKAN || (shader.offset | shader.bytes).is_multiple_of(4);
    let named = shader.entry[shader.entry.len() - 1] == 0 && !shader.entry_text().is_empty();
    let arrays = shader.workgroup_count <= MAX_WORKGROUP_ARRAYS
        && shader.workgroup_bytes.iter().zip(0u32..).all(|(bytes, i)| bytes % 16 == 0 && (*bytes == 0) == (i >= shader.workgroup_count));
    if !words || !named || !arrays || shader.lanes == 0 || shader.binding_count == 0 || shader.binding_count > MAX_PARAMETERS {
        return Err(malformed("shader is malformed", index));
    }
    let all = u32::MAX >> (MAX_PARAMETERS - shader.binding_count);
    if (shader.reads | shader.writes) & !all != 0 {
        return Err(malformed("shader touches a parameter that it does not have", index)
            .numbers(shader.binding_count.into(), (shader.reads | shader.writes).into()));
    }
    Ok(())
}

fn check_list(plan: &Plan<'_>, list: usize) -> Outcome<()> {
    let mut group = 0;
    for index in 0..plan.header.lists[list].count {
        let dispatch = plan.dispatch(list, index);
        let shader = plan.shader(dispatch.kernel);
        if dispatch.binding_count != shader.binding_count {
            return Err(malformed("dispatch has another number of bindings than its shader", index)
                .numbers(shader.binding_count.into(), dispatch.binding_count.into()));
        }
        if let Some(extent) = dispatch.grid.iter().find(|extent| extent.max > MAX_WORKGROUPS) {
            return Err(malformed("dispatch has too many workgroups along an axis", index).numbers(MAX_WORKGROUPS.into(), extent.max.into()));
        }
        if dispatch.flags & !dispatch_flag::BESIDE != 0 {
            return Err(malformed("dispatch has unknown flags", index).numbers(dispatch_flag::BESIDE.into(), dispatch.flags.into()));
        }
        for i in 0..dispatch.binding_count {
            if shader.writes >> i & 1 != 0 && plan.binding(dispatch.first_binding + i).region == region::WEIGHTS {
                return Err(malformed("dispatch writes weights", index));
            }
        }
        if dispatch.flags & dispatch_flag::BESIDE == 0 {
            group = index;
            continue;
        }
        if index == 0 {
            return Err(malformed("first dispatch of a list runs beside none", index));
        }
        for other in group..index {
            if overlap(plan, &dispatch, &plan.dispatch(list, other)) {
                return Err(malformed("dispatch runs beside one whose memory it shares", index)
                    .values(Value::Text("disjoint memory"), Value::Number(other.into())));
            }
        }
    }
    Ok(())
}

/// Whether a byte that one of the dispatches writes is touched by the other.
fn overlap(plan: &Plan<'_>, a: &Dispatch, b: &Dispatch) -> bool {
    let (shader_a, shader_b) = (plan.shader(a.kernel), plan.shader(b.kernel));
    (0..a.binding_count).any(|i| {
        let first = plan.binding(a.first_binding + i);
        (0..b.binding_count).any(|j| {
            let written = (shader_a.writes >> i | shader_b.writes >> j) & 1 != 0;
            let touched = ((shader_a.reads | shader_a.writes) >> i & (shader_b.reads | shader_b.writes) >> j) & 1 != 0;
            if !written || !touched {
                return false;
            }
            let second = plan.binding(b.first_binding + j);
            first.region == second.region && first.offset < second.offset + second.len && second.offset < first.offset + first.len
        })
    })
}

fn malformed(what: &'static str, index: u32) -> Fault {
    Fault::new(Code::Format, PLAN, what).at(index).hint(REBUILD)
}

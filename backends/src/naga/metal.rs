//! MSL 2.3: one text with all kernels as entry points.
//!
//! Parameter i is buffer slot i, the step the slot after the last parameter. Workgroup arrays are threadgroup slots 0, 1, … in
//! the order of the kernel's arrays; those that the kernel does not touch have none.

use super::Fault;
use super::spirv::UNCHECKED;
use naga::back::msl::{self, BindTarget, EntryPointResources};
use naga::valid::ModuleInfo;
use naga::{AddressSpace, StorageAccess};

/// The text of a validated module, and the names of its entry points there. `params` is the number of parameters of each.
pub(super) fn write(module: &naga::Module, info: &ModuleInfo, params: &[u32]) -> Result<(String, Vec<String>), Fault> {
    let mut options = msl::Options {
        lang_version: (2, 3),
        fake_missing_bindings: false,
        bounds_check_policies: UNCHECKED,
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..msl::Options::default()
    };
    for (i, (entry, params)) in module.entry_points.iter().zip(params).enumerate() {
        let mut slots = EntryPointResources { immediates_buffer: Some(slot(*params)?), ..EntryPointResources::default() };
        let used = info.get_entry_point(i);
        for (variable, global) in module.global_variables.iter() {
            if let (Some(binding), AddressSpace::Storage { access }, false) = (global.binding, global.space, used[variable].is_empty()) {
                let mutable = access.contains(StorageAccess::STORE);
                slots.resources.insert(binding, BindTarget { buffer: Some(slot(binding.binding)?), mutable, ..BindTarget::default() });
            }
        }
        options.per_entry_point_map.insert(entry.name.clone(), slots);
    }
    let (text, made) = msl::write_string(module, info, &options, &msl::PipelineOptions::default())?;
    let names = made.entry_point_names.into_iter().map(|n| n.map_err(|e| Fault(e.to_string()))).collect::<Result<_, _>>()?;
    Ok((text, names))
}

fn slot(n: u32) -> Result<u8, Fault> {
    u8::try_from(n).map_err(|_| Fault(format!("buffer slot {n}")))
}

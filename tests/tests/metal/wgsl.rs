//! MSL from WGSL, by naga with the options of the back end: no bounds checks, no loop bounding, no zeroing.

use naga::back::msl;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
use naga::{AddressSpace, ResourceBinding};

/// The MSL 2.3 of a WGSL module. Binding n of group 0 is buffer slot n; immediates follow the bindings.
pub fn to_msl(source: &str) -> String {
    let module = naga::front::wgsl::parse_str(source).unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)));
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    let validator = validator.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)));
    let slots = module.global_variables.iter().filter_map(|(_, v)| v.binding).map(|b| b.binding + 1).max().unwrap_or(0);
    let mut resources = msl::EntryPointResources { immediates_buffer: Some(slots as u8), sizes_buffer: Some(30), ..Default::default() };
    for (_, variable) in module.global_variables.iter() {
        if let (AddressSpace::Storage { access }, Some(ResourceBinding { binding, .. })) = (variable.space, variable.binding) {
            let mutable = access.contains(naga::StorageAccess::STORE);
            let target = msl::BindTarget { buffer: Some(binding as u8), mutable, ..Default::default() };
            resources.resources.insert(ResourceBinding { group: 0, binding }, target);
        }
    }
    let unchecked = BoundsCheckPolicy::Unchecked;
    let options = msl::Options {
        lang_version: (2, 3),
        per_entry_point_map: module.entry_points.iter().map(|e| (e.name.clone(), resources.clone())).collect(),
        fake_missing_bindings: false,
        bounds_check_policies: BoundsCheckPolicies { index: unchecked, buffer: unchecked, image_load: unchecked, binding_array: unchecked },
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        ..Default::default()
    };
    let (text, translated) = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    for name in &translated.entry_point_names {
        if let Err(e) = name {
            panic!("{e}");
        }
    }
    text
}

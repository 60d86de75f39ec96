//! The C++ that calls the entry points of an MSL text: one caller for each, a table of them, and one exported function.

use std::fmt::Write as _;

use super::signature::{BuiltIn, Param, Signature};

/// Name of the file that [`source`] includes.
pub const TEXT_FILE: &str = "kernels.metal";

/// C++ that includes the text and exports `slmc_entry_bytes` and `slmc_launch_entry`.
pub fn source(entries: &[Signature]) -> String {
    let mut out = format!("#include \"{TEXT_FILE}\"\n#include \"shim/launch.h\"\n\nusing namespace metal;\n\n");
    let mut rows = String::new();
    for (i, entry) in entries.iter().enumerate() {
        let mut buffers = vec!["0".to_owned(); entry.slot_end()];
        let (mut arrays, mut arguments) = (Vec::new(), Vec::new());
        for param in &entry.params {
            arguments.push(match param {
                Param::Buffer { slot, ty, .. } => {
                    buffers[*slot as usize] = format!("sizeof({ty})");
                    format!("SlmcMemory{{buffers[{slot}]}}")
                }
                Param::Array { ty } => {
                    arrays.push(format!("sizeof({ty})"));
                    format!("SlmcMemory{{arrays[{}]}}", arrays.len() - 1)
                }
                Param::BuiltIn(built_in) => value(*built_in).to_owned(),
            });
        }
        // An array has at least one element.
        buffers.push("0".to_owned());
        arrays.push("0".to_owned());
        let (buffers, arrays, arguments) = (buffers.join(", "), arrays.join(", "), arguments.join(", "));
        // Writing to a text never fails.
        let _ = write!(
            out,
            "static const unsigned long buffers_{i}[] = {{{buffers}}};\nstatic const unsigned long arrays_{i}[] = {{{arrays}}};\n\
             static void call_{i}([[maybe_unused]] void* const* buffers, [[maybe_unused]] void* const* arrays) {{\n    \
             [[maybe_unused]] const SlmcGroup& g = slmc_group;\n    {name}({arguments});\n}}\n\n",
            name = entry.name
        );
        let _ = writeln!(rows, "    {{call_{i}, buffers_{i}, arrays_{i}}},");
    }
    let _ = write!(
        out,
        "static const SlmcEntry entries[] = {{\n{rows}}};\n\n\
         extern \"C\" unsigned long slmc_entry_bytes(uint entry, uint is_array, uint index) {{\n    \
         return (is_array ? entries[entry].array_bytes : entries[entry].buffer_bytes)[index];\n}}\n\n\
         extern \"C\" const char* slmc_launch_entry(uint entry, void* const* buffers, void* const* arrays, const SlmcLaunch* launch) {{\n    \
         return slmc_launch(entries[entry], buffers, arrays, *launch);\n}}\n"
    );
    out
}

fn value(built_in: BuiltIn) -> &'static str {
    match built_in {
        BuiltIn::GroupPosition => "g.position",
        BuiltIn::GroupCount => "g.count",
        BuiltIn::Position => "g.position * g.shape + slmc_shape_position()",
        BuiltIn::PositionInGroup => "slmc_shape_position()",
        BuiltIn::IndexInGroup => "g.current",
        BuiltIn::IndexInSimdgroup => "g.current % g.simdgroup_lanes",
        BuiltIn::SimdgroupIndex => "g.current / g.simdgroup_lanes",
        BuiltIn::SimdgroupCount => "(g.lanes + g.simdgroup_lanes - 1) / g.simdgroup_lanes",
        BuiltIn::SimdgroupLanes => "g.simdgroup_lanes",
    }
}

//! SPIR-V 1.3 for Vulkan 1.1: one module per kernel, asking for no capability that the target does not have.
//!
//! [`clean`] mends and completes what naga writes, word by word:
//! - array strides and member offsets go from types of workgroup, private and function memory, where Vulkan forbids them
//!   (VUID-StandaloneSpirv-None-10684; some drivers refuse the module);
//! - the capability of 16-bit uniform buffers goes, as there are none;
//! - the initializers of function variables go: private arrays are undefined at the start of a tile, and clearing them is work;
//! - sums and products are decorated `NoContraction`: a kernel says `fma` where it wants one rounding.

use super::Fault;
use naga::back::spv::{self, Capability, ZeroInitializeWorkgroupMemoryMode};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::ModuleInfo;
use slmc_ir::target::Gpu;
use std::collections::{BTreeMap, BTreeSet};

/// Nothing is checked at run time: the verifier has proven every index.
pub(super) const UNCHECKED: BoundsCheckPolicies = BoundsCheckPolicies {
    index: BoundsCheckPolicy::Unchecked,
    buffer: BoundsCheckPolicy::Unchecked,
    image_load: BoundsCheckPolicy::Unchecked,
    binding_array: BoundsCheckPolicy::Unchecked,
};

/// The words of a validated module of one entry point.
pub(super) fn write(module: &naga::Module, info: &ModuleInfo, gpu: &Gpu) -> Result<Vec<u32>, Fault> {
    let mut allowed = vec![Capability::Shader];
    if gpu.subgroups {
        allowed.extend([Capability::GroupNonUniform, Capability::GroupNonUniformArithmetic]);
    }
    if gpu.f16 {
        allowed.extend([Capability::Float16, Capability::StorageBuffer16BitAccess, Capability::UniformAndStorageBuffer16BitAccess]);
    }
    if gpu.int_dot {
        allowed.extend([Capability::DotProduct, Capability::DotProductInput4x8BitPacked]);
    }
    let options = spv::Options {
        lang_version: (1, 3),
        flags: spv::WriterFlags::empty(),
        fake_missing_bindings: true,
        capabilities: Some(allowed.into_iter().collect()),
        bounds_check_policies: UNCHECKED,
        zero_initialize_workgroup_memory: ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        use_storage_input_output_16: false,
        emit_int_div_checks: false,
        ..spv::Options::default()
    };
    let words = spv::write_vec(module, info, &options, None)?;
    clean(&words)
}

/// Opcodes, storage classes and decorations of the SPIR-V specification.
mod code {
    pub(super) const CAPABILITY: u32 = 17;
    pub(super) const TYPE_VOID: u32 = 19;
    pub(super) const TYPE_VECTOR: u32 = 23;
    pub(super) const TYPE_MATRIX: u32 = 24;
    pub(super) const TYPE_ARRAY: u32 = 28;
    pub(super) const TYPE_RUNTIME_ARRAY: u32 = 29;
    pub(super) const TYPE_STRUCT: u32 = 30;
    pub(super) const TYPE_POINTER: u32 = 32;
    pub(super) const TYPE_FUNCTION: u32 = 33;
    pub(super) const VARIABLE: u32 = 59;
    pub(super) const DECORATE: u32 = 71;
    pub(super) const MEMBER_DECORATE: u32 = 72;
    pub(super) const F_ADD: u32 = 129;
    pub(super) const F_SUB: u32 = 131;
    pub(super) const F_MUL: u32 = 133;
    pub(super) const UNIFORM_16: u32 = 4434;
    pub(super) const ARRAY_STRIDE: u32 = 6;
    pub(super) const OFFSET: u32 = 35;
    pub(super) const NO_CONTRACTION: u32 = 42;
    pub(super) const UNIFORM: u32 = 2;
    pub(super) const WORKGROUP: u32 = 4;
    pub(super) const PRIVATE: u32 = 6;
    pub(super) const FUNCTION: u32 = 7;
    pub(super) const PUSH_CONSTANT: u32 = 9;
    pub(super) const STORAGE_BUFFER: u32 = 12;
    /// Words before the first instruction.
    pub(super) const HEADER: usize = 5;
}

/// An instruction: its opcode and all its words, the first of which holds opcode and length.
type Instruction<'w> = (u32, &'w [u32]);

/// The instructions of a module.
fn instructions(words: &[u32]) -> Result<Vec<Instruction<'_>>, Fault> {
    let mut rest = words.get(code::HEADER..).unwrap_or_default();
    let mut out = Vec::new();
    while let [first, ..] = rest {
        let len = (first >> 16) as usize;
        if len == 0 || len > rest.len() {
            return Err(Fault("the SPIR-V module ends inside an instruction".into()));
        }
        let (instruction, tail) = rest.split_at(len);
        out.push((first & 0xffff, instruction));
        rest = tail;
    }
    Ok(out)
}

/// Types by the storage classes of the variables that they are part of.
struct Layouts {
    /// Of memory that has no layout.
    free: BTreeSet<u32>,
    /// Of buffers.
    laid: BTreeSet<u32>,
}

fn layouts(all: &[Instruction<'_>]) -> Layouts {
    let mut parts: BTreeMap<u32, &[u32]> = BTreeMap::new();
    let mut pointees: BTreeMap<u32, u32> = BTreeMap::new();
    let mut found = Layouts { free: BTreeSet::new(), laid: BTreeSet::new() };
    for (op, x) in all {
        match (*op, x) {
            (code::TYPE_VECTOR | code::TYPE_MATRIX | code::TYPE_ARRAY | code::TYPE_RUNTIME_ARRAY, [_, id, element, ..]) => {
                parts.insert(*id, std::slice::from_ref(element));
            }
            (code::TYPE_STRUCT, [_, id, members @ ..]) => {
                parts.insert(*id, members);
            }
            (code::TYPE_POINTER, [_, id, _, pointee]) => {
                pointees.insert(*id, *pointee);
            }
            (code::VARIABLE, [_, pointer, _, class, ..]) => {
                let set = match *class {
                    code::WORKGROUP | code::PRIVATE | code::FUNCTION => &mut found.free,
                    code::UNIFORM | code::PUSH_CONSTANT | code::STORAGE_BUFFER => &mut found.laid,
                    _ => continue,
                };
                let mut open: Vec<u32> = pointees.get(pointer).copied().into_iter().collect();
                while let Some(ty) = open.pop() {
                    if set.insert(ty) {
                        open.extend(parts.get(&ty).copied().unwrap_or_default());
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// Mends a module of naga; see the head of this file.
fn clean(words: &[u32]) -> Result<Vec<u32>, Fault> {
    let all = instructions(words)?;
    let layouts = layouts(&all);
    let rounded = all.iter().filter(|(op, _)| matches!(*op, code::F_ADD | code::F_SUB | code::F_MUL));
    let rounded: Vec<u32> = rounded.filter_map(|(_, x)| x.get(2).copied()).collect();
    let mut out = words.get(..code::HEADER).unwrap_or_default().to_vec();
    let mut decorated = false;
    for (op, x) in all {
        if !decorated && (code::TYPE_VOID..=code::TYPE_FUNCTION).contains(&op) {
            decorated = true;
            for id in &rounded {
                out.extend([3 << 16 | code::DECORATE, *id, code::NO_CONTRACTION]);
            }
        }
        match (op, x) {
            (code::CAPABILITY, [_, code::UNIFORM_16]) => {}
            (code::DECORATE, [_, id, code::ARRAY_STRIDE, ..]) | (code::MEMBER_DECORATE, [_, id, _, code::OFFSET, ..])
                if layouts.free.contains(id) =>
            {
                if layouts.laid.contains(id) {
                    return Err(Fault(format!("type %{id} is part of a buffer and of memory without a layout")));
                }
            }
            (code::VARIABLE, [_, pointer, id, code::FUNCTION, _]) => out.extend([4 << 16 | code::VARIABLE, *pointer, *id, code::FUNCTION]),
            _ => out.extend_from_slice(x),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module of two pointers to one array, in a buffer and in workgroup memory; nothing else of it is valid.
    fn shared(classes: [u32; 2]) -> Vec<u32> {
        let mut words = vec![0x0723_0203, 0x0001_0300, 0, 9, 0];
        words.extend([4 << 16 | code::DECORATE, 3, code::ARRAY_STRIDE, 4]);
        words.extend([4 << 16 | code::TYPE_ARRAY, 3, 1, 2]);
        for (n, class) in (0..).zip(classes) {
            words.extend([4 << 16 | code::TYPE_POINTER, 4 + n, class, 3]);
            words.extend([4 << 16 | code::VARIABLE, 4 + n, 6 + n, class]);
        }
        words
    }

    #[test]
    fn a_type_in_buffers_and_in_workgroup_memory_is_an_error_not_a_broken_buffer() {
        assert!(clean(&shared([code::STORAGE_BUFFER, code::WORKGROUP])).is_err());
        let kept = clean(&shared([code::STORAGE_BUFFER, code::STORAGE_BUFFER])).expect("nothing to remove");
        assert_eq!(kept, shared([code::STORAGE_BUFFER, code::STORAGE_BUFFER]));
        let removed = clean(&shared([code::WORKGROUP, code::FUNCTION])).expect("no buffer has the type");
        assert!(!removed.contains(&(4 << 16 | code::DECORATE)));
    }

    #[test]
    fn a_module_cut_short_is_an_error() {
        let mut words = shared([code::WORKGROUP, code::WORKGROUP]);
        words.pop();
        assert!(clean(&words).is_err());
    }
}

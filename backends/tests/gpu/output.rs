//! The artifact: entry points, slots, the host's object, and that it depends on nothing but the input.

use crate::case::{emit, target};
use crate::spirv::instructions;
use crate::spirv::words;
use crate::{flow, packed, tiles};
use object::{Object, ObjectSection, ObjectSymbol};
use slmc_backends::{EmitOptions, Shaders, lookup};
use slmc_ir::kernel::{Access, KernelBuilder, KernelModule, Scalar, Type, verify_module};
use slmc_ir::target::{GpuApi, Target};

fn module() -> KernelModule {
    let mut module = KernelModule::default();
    for case in flow::statements().into_iter().chain(tiles::workgroups()).chain(tiles::subgroups()).chain(packed::dots()) {
        module.kernels.push(case.kernel);
    }
    module
}

fn shaders(module: &KernelModule, api: GpuApi) -> Shaders {
    emit(module, &target(api, true), false).shaders.expect("a GPU's artifact has shaders")
}

#[test]
fn same_input_same_bytes_whatever_the_threads() {
    let module = module();
    let verified = verify_module(&module).expect("the cases verify");
    for api in [GpuApi::Vulkan, GpuApi::Metal] {
        let emit = |threads| {
            let options = EmitOptions { header: vec![7; 64], threads, listing: true };
            lookup("naga").expect("the feature naga").emit(verified, &target(api, true), &options).expect("the cases are legal")
        };
        let one = emit(1);
        for threads in [1, 2, 7] {
            assert_eq!(emit(threads), one);
        }
    }
}

#[test]
fn spirv_modules_lie_one_after_the_other_and_name_their_kernels() {
    let module = module();
    let artifact = emit(&module, &target(GpuApi::Vulkan, true), false);
    let shaders = artifact.shaders.as_ref().expect("a GPU's artifact has shaders");
    assert_eq!(shaders.file, "kernels.spv");
    let mut end = 0;
    for (i, (shader, (_, kernel))) in shaders.kernels.iter().zip(module.kernels.iter()).enumerate() {
        assert_eq!(shader.offset, end);
        end += shader.bytes;
        assert!(shader.entry.starts_with(&format!("k{i}_{}", kernel.name)), "{} of {}", shader.entry, kernel.name);
        let words = words(&artifact, i);
        assert_eq!(words[..2], [0x0723_0203, 0x0001_0300], "SPIR-V 1.3");
        // OpEntryPoint: execution model 5, the function, the name.
        let entries: Vec<&[u32]> = instructions(&words).into_iter().filter(|(op, _)| *op == 15).map(|(_, x)| x).collect();
        let [entry] = entries.as_slice() else { panic!("{} entry points", entries.len()) };
        let name: Vec<u8> = entry[2..].iter().flat_map(|w| w.to_le_bytes()).take_while(|b| *b != 0).collect();
        assert_eq!((entry[0], name), (5, shader.entry.clone().into_bytes()));
        // OpExecutionMode LocalSize.
        let size = instructions(&words).into_iter().find(|(op, x)| *op == 16 && x[1] == 17).map(|(_, x)| x[2..].to_vec());
        assert_eq!(size, Some(vec![kernel.lanes, 1, 1]));
        assert_eq!(shader.step_slot, kernel.params().count() as u32);
    }
    assert_eq!(end, shaders.bytes.len() as u64);
}

/// Capabilities of a module.
fn capabilities(words: &[u32]) -> Vec<u32> {
    instructions(words).into_iter().filter(|(op, _)| *op == 17).map(|(_, x)| x[0]).collect()
}

#[test]
fn a_kernel_asks_for_the_capabilities_that_it_uses() {
    let one = |b: KernelBuilder| {
        let mut module = KernelModule::default();
        module.kernels.push(b.finish());
        capabilities(&words(&emit(&module, &target(GpuApi::Vulkan, true), false), 0))
    };
    let pairs = Type::vector(Scalar::F16, 2);
    let start = |name: &str| {
        let mut b = KernelBuilder::new(name, crate::case::BOUNDS, [1, 1, 1]);
        let data = b.param("data", pairs, 8, Access::ReadWrite, 64);
        (b, data)
    };
    let (mut b, data) = start("moved");
    let v = b.load(pairs, data, 0u32);
    let v = b.convert(v, Scalar::F32);
    let v = b.mul(v, 0.5f32);
    let v = b.convert(v, Scalar::F16);
    b.store(data, 1u32, v);
    assert_eq!(one(b), [1], "Shader");
    let (mut b, data) = start("computed");
    let v = b.load(pairs, data, 0u32);
    let v = b.mul(v, 0.5f32);
    b.store(data, 1u32, v);
    assert_eq!(one(b), [1, 9, 4433], "Shader, Float16, StorageBuffer16BitAccess");
}

#[test]
fn sums_and_products_are_not_contracted() {
    let module = module();
    let artifact = emit(&module, &target(GpuApi::Vulkan, true), false);
    let mut found = 0;
    for i in 0..module.kernels.len() {
        let words = words(&artifact, i);
        let all = instructions(&words);
        let kept: Vec<u32> = all.iter().filter(|(op, x)| *op == 71 && x[1] == 42).map(|(_, x)| x[0]).collect();
        // OpFAdd, OpFSub, OpFMul.
        let rounded: Vec<u32> = all.iter().filter(|(op, _)| matches!(op, 129 | 131 | 133)).map(|(_, x)| x[1]).collect();
        assert_eq!(kept, rounded);
        found += rounded.len();
    }
    assert!(found > 10, "{found} sums and products");
}

/// The parameters of an entry point in MSL.
fn signature<'t>(text: &'t str, entry: &str) -> &'t str {
    let start = text.find(&format!("kernel void {entry}(")).unwrap_or_else(|| panic!("no entry point {entry}"));
    let end = text[start..].find(") {").expect("a parameter list ends");
    &text[start..start + end]
}

#[test]
fn one_metal_text_has_all_kernels_with_the_slots_of_the_contract() {
    let module = module();
    let shaders = shaders(&module, GpuApi::Metal);
    assert_eq!(shaders.file, "kernels.metal");
    let text = std::str::from_utf8(&shaders.bytes).expect("MSL is text");
    assert!(text.starts_with("// language: metal2.3\n"), "{}", &text[..40]);
    assert_eq!(text.matches("kernel void ").count(), module.kernels.len());
    // Runtime-sized arrays would need a buffer of sizes.
    assert!(!text.contains("_mslBufferSizes"));
    for (shader, (_, kernel)) in shaders.kernels.iter().zip(module.kernels.iter()) {
        assert_eq!((shader.offset, shader.bytes), (0, shaders.bytes.len() as u64));
        let params = signature(text, &shader.entry);
        let count = kernel.params().count() as u32;
        assert_eq!(shader.step_slot, count);
        assert!(!params.contains(&format!("[[buffer({})]]", count + 1)), "{params}");
        if params.contains("Step const&") {
            assert!(params.contains(&format!("[[buffer({count})]]")), "{params}");
        }
        assert_eq!(params.matches("threadgroup ").count(), shader.workgroup.len(), "{params}");
        assert!(shader.workgroup.iter().all(|bytes| bytes % 16 == 0));
    }
}

#[test]
fn long_chains_do_not_nest_deeper_in_metal_than_compilers_take() {
    let mut b = KernelBuilder::new("chain", crate::case::BOUNDS, [1, 1, 1]);
    let data = b.param("data", Type::scalar(Scalar::F32), 8, Access::ReadWrite, 64);
    let (mut sum, factor) = (b.load(Type::scalar(Scalar::F32), data, 0u32), b.load(Type::scalar(Scalar::F32), data, 1u32));
    for i in 0..3000u16 {
        sum = b.fma(factor, f32::from(i), sum);
    }
    b.store(data, 2u32, sum);
    let mut module = KernelModule::default();
    module.kernels.push(b.finish());
    let text = String::from_utf8(shaders(&module, GpuApi::Metal).bytes).expect("MSL is text");
    let depth = |line: &str| {
        line.chars()
            .scan(0i32, |depth, c| {
                Some(*{
                    *depth += i32::from(c == '(') - i32::from(c == ')');
                    depth
                })
            })
            .max()
    };
    let deepest = text.lines().filter_map(depth).max();
    // Clang's limit is 256.
    assert!(deepest < Some(32), "{deepest:?}");
}

#[test]
fn workgroup_slots_have_the_order_of_the_arrays_and_skip_unused_ones() {
    let mut b = KernelBuilder::new("slots", crate::case::BOUNDS, [1, 1, 1]);
    b.lanes(4);
    let out = b.param("out", Type::INDEX, 4, Access::Write, 64);
    let (first, _unused, second) =
        (b.workgroup("first", Type::INDEX, 5), b.workgroup("unused", Type::INDEX, 9), b.workgroup("second", Type::vector(Scalar::F32, 4), 8));
    let lane = b.builtin(slmc_ir::kernel::Builtin::Lane);
    b.store(second, lane, 1.0f32);
    b.store(first, lane, lane);
    let v = b.load(Type::INDEX, first, lane);
    b.store(out, lane, v);
    let mut module = KernelModule::default();
    module.kernels.push(b.finish());
    for api in [GpuApi::Vulkan, GpuApi::Metal] {
        assert_eq!(shaders(&module, api).kernels[0].workgroup, [32, 128]);
    }
    let metal = shaders(&module, GpuApi::Metal);
    let text = String::from_utf8(metal.bytes).expect("MSL is text");
    let params = signature(&text, &metal.kernels[0].entry);
    let (first, second) = (params.find("& first"), params.find("& second"));
    assert!(first.is_some() && first < second, "{params}");
}

#[test]
fn an_operand_of_two_dot_products_is_declared_once_each_in_metal() {
    let mut module = KernelModule::default();
    for case in packed::dots() {
        module.kernels.push(case.kernel);
    }
    let text = String::from_utf8(shaders(&module, GpuApi::Metal).bytes).expect("MSL is text");
    for body in text.split("kernel void ").skip(1) {
        let mut names: Vec<&str> = body.match_indices("packed_char4 ").filter_map(|(i, _)| body[i..].split_whitespace().nth(1)).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{body}");
    }
}

#[test]
fn long_and_awkward_names_become_short_distinct_entry_points() {
    let long = "a".repeat(80);
    let names = [long.clone(), format!("{long}b"), "tail_".into(), "two__lines".into(), "end9".into(), "_".into(), "float4".into()];
    let mut module = KernelModule::default();
    for name in &names {
        let mut b = KernelBuilder::new(name.clone(), crate::case::BOUNDS, [1, 1, 1]);
        // A buffer that has the entry point's name already.
        let data = b.param("k0_data", Type::INDEX, 4, Access::Write, 64);
        b.store(data, 0u32, 1u32);
        module.kernels.push(b.finish());
    }
    let (vulkan, metal) = (shaders(&module, GpuApi::Vulkan), shaders(&module, GpuApi::Metal));
    let text = String::from_utf8(metal.bytes).expect("MSL is text");
    let mut seen = std::collections::BTreeSet::new();
    for (v, m) in vulkan.kernels.iter().zip(&metal.kernels) {
        assert_eq!(v.entry, m.entry);
        assert!(v.entry.len() <= 63 && seen.insert(v.entry.clone()), "{}", v.entry);
        signature(&text, &m.entry);
    }
}

#[test]
fn the_hosts_object_has_the_header_and_an_empty_table_both_hidden() {
    let mut module = KernelModule::default();
    module.kernels.push(KernelBuilder::new("nothing", crate::case::BOUNDS, [1, 1, 1]).finish());
    let cases = [
        ("x86_64-unknown-linux-gnu", GpuApi::Vulkan, object::Architecture::X86_64, ""),
        ("aarch64-linux-android", GpuApi::Vulkan, object::Architecture::Aarch64, ""),
        ("aarch64-apple-ios", GpuApi::Metal, object::Architecture::Aarch64, "_"),
        ("aarch64-apple-darwin", GpuApi::Metal, object::Architecture::Aarch64, "_"),
    ];
    for (triple, api, architecture, prefix) in cases {
        let artifact = emit(&module, &Target { triple, ..target(api, false) }, false);
        let [table] = artifact.objects.as_slice() else { panic!("{} objects", artifact.objects.len()) };
        assert_eq!((table.name.as_str(), table.symbols.as_slice()), ("slmc_table", ["slmc_code".to_owned(), "slmc_kernels".to_owned()].as_slice()));
        let file = object::File::parse(table.bytes.as_slice()).unwrap_or_else(|e| panic!("{triple}: {e}"));
        assert_eq!(file.architecture(), architecture);
        for (name, expected) in [("slmc_code", b"a header".as_slice()), ("slmc_kernels", &[0; 8])] {
            let name = format!("{prefix}{name}");
            let symbol = file.symbols().find(|s| s.name() == Ok(&name)).unwrap_or_else(|| panic!("{triple}: no {name}"));
            assert_eq!(symbol.scope(), object::SymbolScope::Linkage, "{triple}: {name}");
            let section = file.section_by_index(symbol.section_index().expect("it is defined")).expect("its section is there");
            let at = (symbol.address() - section.address()) as usize;
            assert_eq!(&section.data().expect("it has data")[at..at + 8], expected, "{triple}: {name}");
            assert!(section.align() >= 64 && (at.is_multiple_of(64) || name.ends_with("kernels")));
        }
    }
}

#[test]
fn the_listing_is_wgsl_of_every_kernel() {
    let module = module();
    for api in [GpuApi::Vulkan, GpuApi::Metal] {
        let listing = emit(&module, &target(api, true), true).listing.expect("it was asked for");
        assert_eq!(listing.matches("@compute").count(), module.kernels.len());
    }
}

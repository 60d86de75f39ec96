//! The cases of the naga back end in Metal's language against the interpreter: subgroups of two sizes, lanes in both orders.

use crate::case::{Case, compare, emit, interpret, module, step, target};
use crate::launch::{Kernels, Launch};
use crate::{exprs, flow, packed, tiles};
use slmc_ir::target::GpuApi;
use slmc_tests::msl::compile::skipped;

/// Kernels of one text: a compiler's time grows with the text, and a text has a start-up of its own.
const TEXT: usize = 24;

fn check(name: &str, able: bool, cases: &[Case]) {
    if skipped(name).is_some() {
        return;
    }
    for cases in cases.chunks(TEXT) {
        let artifact = emit(&module(cases), &target(GpuApi::Metal, able), false);
        let shaders = artifact.shaders.expect("a GPU's artifact has shaders");
        let text = String::from_utf8(shaders.bytes).expect("MSL is text");
        let kernels = Kernels::new(&text).unwrap_or_else(|e| panic!("{e}"));
        for (case, shader) in cases.iter().zip(&shaders.kernels) {
            assert_eq!(shader.step_slot as usize, case.buffers.len());
            let mut slots = case.buffers.clone();
            slots.push(step().iter().flat_map(|n| n.to_le_bytes()).collect());
            let arrays: Vec<u64> = shader.workgroup.iter().map(|&bytes| u64::from(bytes)).collect();
            for (simdgroup, descending) in [(8, false), (32, true)] {
                let lanes = [case.kernel.lanes, 1, 1];
                let how = Launch { groups: case.grid, lanes, simdgroup, descending, arrays: arrays.clone() };
                let found = kernels.run(&shader.entry, &slots, &how).unwrap_or_else(|e| panic!("{e}\n{}", case.kernel));
                for (p, (expected, found)) in interpret(case, simdgroup).iter().zip(&found).enumerate() {
                    compare(case, p, expected, found);
                }
            }
        }
    }
}

#[test]
fn expressions_of_32_bits() {
    for cases in [exprs::arithmetic(), exprs::immediates(), exprs::comparisons(), exprs::conversions(), exprs::moves()] {
        check("expressions_of_32_bits", false, &cases);
    }
}

#[test]
fn packed_bytes_and_halves() {
    check("packed_bytes_and_halves", false, &packed::bytes());
    check("packed_bytes_and_halves", false, &packed::halves());
}

#[test]
fn arithmetic_of_halves_and_dot_products() {
    check("arithmetic_of_halves_and_dot_products", true, &packed::half_arithmetic());
    check("arithmetic_of_halves_and_dot_products", true, &packed::dots());
}

#[test]
fn statements() {
    check("statements", false, &flow::statements());
}

#[test]
fn workgroups_and_subgroups() {
    check("workgroups_and_subgroups", false, &tiles::workgroups());
    check("workgroups_and_subgroups", true, &tiles::subgroups());
}

//! A plan for a GPU is refused for every way in which a driver could be told something wrong; no device is needed.

mod gpu_toy;

use gpu_toy::{Parts, Toy, kernels, text};
use slmc_runtime_stub::abi::{Extent, MAX_WORKGROUPS, device_kind, dispatch_flag, feature, list, region};
use slmc_runtime_stub::bundle::Bundle;
use slmc_runtime_stub::fault::{Code, Fault};

#[track_caller]
fn refused(outcome: Result<Bundle, Fault>, code: Code, words: &[&str]) {
    let Err(fault) = outcome else { panic!("must be refused: {words:?}") };
    let message = text(&fault);
    assert_eq!(fault.code, code, "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is missing in {message:?}");
    }
}

#[test]
fn the_toys_plan_is_taken_and_its_files_are_there() {
    let toy = Toy::new();
    let bundle = toy.bundle().unwrap_or_else(|fault| panic!("{}", text(&fault)));
    assert_eq!(bundle.kernels().map.bytes(), std::fs::read(toy.path("kernels.spv")).expect("readable"));
    assert_eq!(bundle.plan().shader(3).entry_text(), "k3_add");
    std::fs::remove_file(toy.path("kernels.spv")).expect("removable");
    refused(toy.bundle(), Code::Io, &["kernels.spv", "cannot be opened"]);
}

#[test]
fn dispatches_run_beside_others_only_where_no_memory_is_shared() {
    type Change = fn(&mut Parts);
    let changes: &[(Change, &str)] = &[
        // The sum of both waits for them.
        (|p| p.lists[list::DECODE][3].flags = dispatch_flag::BESIDE, "number 3"),
        // The even sum reads what was just written.
        (|p| p.lists[list::CHUNK][1].flags = dispatch_flag::BESIDE, "number 1"),
        // The odd sum writes where the even one does.
        (|p| p.bindings[7].offset = p.bindings[5].offset, "number 2"),
        // One byte of overlap is enough.
        (
            |p| {
                p.lists[list::HEAD_ONE][0].grid[0] = Extent::fixed(1);
                let at = p.lists[list::HEAD_ONE][0].first_binding as usize + 2;
                p.bindings[at].len += 4;
            },
            "number 1",
        ),
        (|p| p.lists[list::ARGMAX][0].flags = dispatch_flag::BESIDE, "first dispatch of a list"),
    ];
    for (change, words) in changes {
        refused(Toy::with(change).bundle(), Code::Format, &["plan.bin", "beside", words]);
    }
    let alike: &[Change] = &[
        // Two that only read the same bytes.
        |p| p.shaders[4].writes = 0,
        // Neighbours that touch at an edge: as it is.
        |_| {},
    ];
    for change in alike {
        assert!(Toy::with(change).bundle().is_ok());
    }
}

#[test]
fn what_a_driver_must_not_be_told_is_refused() {
    type Change = fn(&mut Parts);
    let changes: &[(Change, &str)] = &[
        (|p| p.header.device = 3, "unknown kind of device"),
        (|p| p.header.device_features = 1 << 40, "unknown features"),
        (|p| p.header.kernel_count = 8, "number of shaders"),
        (
            |p| {
                p.shaders.pop();
            },
            "number of shaders",
        ),
        (|p| p.shaders[2].bytes = 1 << 40, "shader leaves the kernels file (number 2)"),
        (|p| p.shaders[2].offset = u64::MAX - 3, "shader leaves the kernels file"),
        (|p| p.shaders[1].bytes = 0, "shader leaves the kernels file"),
        (|p| p.shaders[0].bytes -= 2, "shader is malformed (number 0)"),
        (|p| p.shaders[0].entry = [b'x'; 64], "shader is malformed"),
        (|p| p.shaders[0].entry[0] = 0, "shader is malformed"),
        (|p| p.shaders[0].lanes = 0, "shader is malformed"),
        (|p| p.shaders[6].workgroup_bytes[0] = 100, "shader is malformed"),
        (|p| p.shaders[6].workgroup_count = 9, "shader is malformed"),
        (|p| p.shaders[6].workgroup_bytes[3] = 16, "shader is malformed"),
        (|p| p.shaders[5].binding_count = 33, "shader is malformed"),
        (|p| p.shaders[5].writes |= 1 << 4, "does not have"),
        (|p| p.shaders[5].binding_count = 3, "parameter that it does not have"),
        (|p| p.lists[list::HEAD_ONE][0].kernel = 5, "another number of bindings"),
        (|p| p.lists[list::HEAD_ONE][0].flags = 2, "unknown flags"),
        (|p| p.lists[list::CHUNK][0].grid[1] = Extent { max: MAX_WORKGROUPS + 1, ..Extent::fixed(1) }, "too many workgroups along an axis"),
        (|p| p.shaders[4].writes |= 2, "writes weights"),
        (|p| p.bindings[0].offset = 4, "not made for a GPU"),
        (|p| p.bindings[0].len = 0, "not made for a GPU"),
        (|p| p.bindings[0].len = 6, "not made for a GPU"),
        (|p| p.bindings[1].region = region::KV + 1, "names no region"),
        (|p| p.header.picked = p.header.arena_bytes, "picked id does not fit"),
        (|p| p.header.picked = u64::MAX, "picked id"),
        (|p| p.lists[list::ARGMAX].clear(), "picked id"),
    ];
    for (change, words) in changes {
        refused(Toy::with(change).bundle(), Code::Format, &["plan.bin", words, "compile the model again"]);
    }
    refused(Toy::with(|p| p.header.features = feature::AVX2).bundle(), Code::Format, &["CPU features for a GPU"]);
}

#[test]
fn code_for_a_processor_does_not_go_with_a_plan_for_a_gpu() {
    let toy = Toy::with(|p| p.header.device = device_kind::CPU);
    refused(toy.bundle(), Code::Mismatch, &["number of kernels", "expected 0, found 7"]);
    assert_eq!(kernels().header().kernel_count, 0);
}

//! The Metal part of the stub on the fake runtime: a toy bundle opened, run and made to fail.

use slmc_runtime_stub::abi::{Step, list};
use slmc_runtime_stub::fault::{Code, Outcome};
use slmc_runtime_stub::platform::metal::buffers::Buffer;
use slmc_runtime_stub::platform::metal::commands::{Regions, run};
use slmc_runtime_stub::platform::metal::device::Device;
use slmc_runtime_stub::platform::metal::library::Pipelines;
use slmc_tests::msl::compile::skipped;

use crate::fake::{Fake, Traits};
use crate::toy::{self, Toy, VOCAB, Written, best, expected_logits};

/// Runs `ids` in steps of `chunk`, head and pick of the last row; gives logits and the picked id.
fn answer(written: &Written, ids: &[u32], chunk: usize) -> Outcome<(Vec<f32>, u32)> {
    let bundle = written.bundle()?;
    let plan = bundle.plan();
    let device = Device::open()?;
    device.check_features(plan.header.device_features)?;
    let pipelines = Pipelines::build(&device, bundle.kernels().map.bytes(), &plan)?;
    let weights = Buffer::over(&device, &bundle.weights().map, "no buffer for the weights")?;
    let arena = Buffer::zeroed(&device, plan.header.arena_bytes, "no memory for the arena")?;
    let kv = Buffer::zeroed(&device, plan.header.kv_bytes, "no memory for the KV cache")?;
    let regions = Regions { arena: &arena, weights: &weights, kv: &kv };
    let word = |offset: u64| arena.address().wrapping_add(offset as usize).cast::<u32>();
    let mut p = 0;
    for step in ids.chunks(chunk) {
        for (i, id) in step.iter().enumerate() {
            // SAFETY: the arena begins with the ids of a chunk, and no kernel runs.
            unsafe { *word(i as u64 * 4) = *id };
        }
        let t = step.len() as u32;
        run(&device, &pipelines, &plan, regions, if t == 1 { list::DECODE } else { list::CHUNK }, Step { t, p, row: 0, reserved: 0 })?;
        p += t;
        run(&device, &pipelines, &plan, regions, list::HEAD_ONE, Step { t: 1, p, row: t - 1, reserved: 0 })?;
        run(&device, &pipelines, &plan, regions, list::ARGMAX, Step { t: 1, p, row: 0, reserved: 0 })?;
    }
    // SAFETY: inside the arena, and no kernel runs.
    let logits = (0..u64::from(VOCAB)).map(|v| f32::from_bits(unsafe { *word(toy::LOGITS + v * 4) })).collect();
    // SAFETY: as above.
    Ok((logits, unsafe { *word(toy::PICKED) }))
}

fn ids(count: u32) -> Vec<u32> {
    (0..count).map(|i| i * 37 % VOCAB).collect()
}

#[test]
fn a_bundle_runs_through_metals_calls() {
    if skipped("a_bundle_runs_through_metals_calls").is_some() {
        return;
    }
    for descending in [false, true] {
        let fake = Fake::new(Traits { descending, ..Traits::phone() });
        let written = Toy::new().write();
        for (count, chunk) in [(1, 1), (16, 16), (40, 7), (96, 16)] {
            let expected = expected_logits(&written.weights, &ids(count));
            let (logits, picked) = answer(&written, &ids(count), chunk).unwrap_or_else(|fault| panic!("{}", toy::text(&fault)));
            assert_eq!(logits, expected, "{count} tokens in steps of {chunk}");
            assert_eq!(picked, best(&expected));
        }
        assert!(fake.dispatches() > 20);
        fake.finish();
    }
}

/// Opens and runs a toy that `change` made faulty, on a device of these traits; gives the fault and its message.
fn fault(traits: Traits, change: impl FnOnce(&mut Toy)) -> (Code, String, Vec<String>) {
    let fake = Fake::new(traits);
    let mut toy = Toy::new();
    change(&mut toy);
    let fault = answer(&toy.write(), &ids(3), 3).expect_err("must fail");
    let noted = fake.failures();
    fake.finish();
    (fault.code, toy::text(&fault), noted)
}

#[test]
fn what_the_device_lacks_is_named() {
    if skipped("what_the_device_lacks_is_named").is_some() {
        return;
    }
    let phone = Traits::phone;
    for (traits, code, what) in [
        (Traits { present: false, ..phone() }, Code::Device, "there is none"),
        (Traits { families: &[1006], ..phone() }, Code::Device, "lacks features that the bundle needs: expected subgroups, found f16,int_dot"),
        (Traits { most_lanes: 16, ..phone() }, Code::Device, "fewer lanes of a shader together than it needs (number 0): expected 32, found 16"),
        (
            Traits { threadgroup_memory: 128, ..phone() },
            Code::Device,
            "threadgroup memory than a shader needs, in bytes (number 1): expected 144, found 128",
        ),
        (Traits { longest_buffer: 16 << 10, ..phone() }, Code::Memory, "no buffer for the weights: expected 16384, found 32768"),
        (Traits { failure: Some("GPU hang".to_owned()), ..phone() }, Code::Device, "failed while it ran the model: found `GPU hang`"),
    ] {
        let (found, message, noted) = fault(traits, |_| {});
        assert_eq!(found, code, "{message}");
        assert!(message.contains(what), "{message}");
        assert!(noted.is_empty(), "{noted:?}");
    }
}

#[test]
fn a_library_that_is_none_fails_with_metals_words() {
    if skipped("a_library_that_is_none_fails_with_metals_words").is_some() {
        return;
    }
    let (code, message, _) = fault(Traits::phone(), |toy| toy.text = toy.text.replace("metal::uint3", "metal::uint5"));
    assert_eq!(code, Code::Device);
    assert!(message.contains("kernels.metal: does not compile") && message.contains("uint5"), "{message}");
    let (code, message, _) = fault(Traits::phone(), |toy| toy.shaders[2].entry[0] = b'b');
    assert_eq!(code, Code::Device);
    assert!(message.contains("no entry point of a shader's name (number 2)"), "{message}");
}

#[test]
fn what_the_plan_gets_wrong_shows_on_the_device() {
    if skipped("what_the_plan_gets_wrong_shows_on_the_device").is_some() {
        return;
    }
    let wrong: [(fn(&mut Toy), &str); 4] = [
        (|toy| (toy.shaders[1].workgroup_count, toy.shaders[1].workgroup_bytes) = (0, [0; 8]), "2 threadgroup arrays, but lengths for 0"),
        (|toy| toy.shaders[1].workgroup_bytes.swap(0, 1), "threadgroup array 1 has 16 bytes"),
        (|toy| toy.shaders[0].step_slot = 4, "nothing is bound to buffer slot 3"),
        (|toy| toy.shaders[2].lanes = 64, "expected 64, found 32"),
    ];
    for (change, what) in wrong {
        let (code, message, noted) = fault(Traits::phone(), change);
        assert_eq!(code, Code::Device, "{message}");
        assert!(message.contains(what) || noted.iter().any(|n| n.contains(what)), "{message} {noted:?}");
    }
}

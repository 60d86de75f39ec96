//! The Metal part of the stub on the fake runtime: a toy bundle opened, run and made to fail.

use std::sync::atomic::AtomicBool;

use slmc_runtime_stub::device::Settings;
use slmc_runtime_stub::fault::{Code, Fault};
use slmc_runtime_stub::model::{Model, OpenOptions};
use slmc_runtime_stub::sample::Sampling;
use slmc_runtime_stub::session::{Logits, Session};
use slmc_tests::msl::compile::skipped;

use crate::fake::{Fake, Traits};
use crate::toy::{self, Toy, VOCAB, Written, best, expected_logits};

/// Never cancelled.
static GO: AtomicBool = AtomicBool::new(false);

/// Opens the bundle with a session and hands it to `test`.
fn with_session<T>(written: &Written, options: OpenOptions<'_>, test: impl FnOnce(&mut Session<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
    let bundle = written.bundle()?;
    let model = Model::open(&bundle, toy::kernels(), OpenOptions { threads: 1, ..options })?;
    test(&mut Session::open(&model)?)
}

fn ids(count: u32) -> Vec<u32> {
    (0..count).map(|i| i * 37 % VOCAB).collect()
}

#[test]
fn a_session_runs_through_metals_calls() {
    if skipped("a_session_runs_through_metals_calls").is_some() {
        return;
    }
    for (descending, batch) in [(false, 128), (true, 128), (false, 1), (true, 3)] {
        let fake = Fake::new(Traits { descending, ..Traits::phone() });
        let written = Toy::new().write();
        let options = OpenOptions { settings: Settings { batch, ..Settings::default() }, ..OpenOptions::default() };
        let outcome = with_session(&written, options, |session| {
            for (count, chunk) in [(1, 1), (16, 16), (40, 7), (95, 16)] {
                session.reset();
                session.set_chunk(chunk)?;
                let expected = expected_logits(&written.weights, &ids(count));
                session.eval(&ids(count), Logits::Last, &GO)?;
                assert_eq!(session.logits()?, expected, "{count} tokens in steps of {chunk}");
                assert_eq!(session.sample(&Sampling::GREEDY)?, best(&expected));
                // One token more, picked on the device.
                let more: Vec<u32> = ids(count).into_iter().chain([7]).collect();
                let expected = expected_logits(&written.weights, &more);
                session.eval(&[7], Logits::Pick, &GO)?;
                assert_eq!(session.sample(&Sampling::GREEDY)?, best(&expected));
                assert_eq!(session.logits()?, expected);
            }
            // All rows, from runs of the head with more than one row.
            session.reset();
            let mut all = vec![0.0; 21 * VOCAB as usize];
            session.eval(&ids(21), Logits::All(&mut all), &GO)?;
            for (n, row) in all.chunks(VOCAB as usize).enumerate() {
                assert_eq!(row, expected_logits(&written.weights, &ids(n as u32 + 1)), "row {n}");
            }
            Ok(())
        });
        outcome.unwrap_or_else(|fault| panic!("{}", toy::text(&fault)));
        assert!(fake.dispatches() > 40);
        fake.finish();
    }
}

#[test]
fn the_device_says_its_name() {
    if skipped("the_device_says_its_name").is_some() {
        return;
    }
    let fake = Fake::new(Traits::phone());
    let name = with_session(&Toy::new().write(), OpenOptions::default(), |session| Ok(session.model().device().name()));
    assert!(name.unwrap_or_else(|fault| panic!("{}", toy::text(&fault))).starts_with(b"Shim of Metal\0"));
    fake.finish();
}

/// Opens and runs a toy that `change` made faulty, on a device of these traits; gives the fault with its message, and what
/// the fake noted.
fn fault(traits: Traits, options: OpenOptions<'_>, change: impl FnOnce(&mut Toy)) -> (Code, String, Vec<String>) {
    let fake = Fake::new(traits);
    let mut toy = Toy::new();
    change(&mut toy);
    let fault = with_session(&toy.write(), options, |session| session.eval(&ids(3), Logits::Last, &GO)).expect_err("must fail");
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
        (Traits { present: false, ..phone() }, Code::Device, "Metal device: is absent"),
        (Traits { families: &[1006], ..phone() }, Code::Device, "lacks features that the bundle needs: expected subgroups, found f16,int_dot"),
        (Traits { most_lanes: 16, ..phone() }, Code::Device, "fewer lanes of a shader together than it needs (number 0): expected 32, found 16"),
        (
            Traits { threadgroup_memory: 128, ..phone() },
            Code::Device,
            "threadgroup memory than a shader needs, in bytes (number 1): expected 144, found 128",
        ),
        (Traits { longest_buffer: 16 << 10, ..phone() }, Code::Memory, "gives no buffer for the weights: expected 16384, found 32768"),
    ] {
        let (found, message, noted) = fault(traits, OpenOptions::default(), |_| {});
        assert_eq!(found, code, "{message}");
        assert!(message.contains(what), "{message}");
        assert!(noted.is_empty(), "{noted:?}");
    }
    let (code, message, _) = fault(phone(), OpenOptions { device: 2, ..OpenOptions::default() }, |_| {});
    assert_eq!((code, message.as_str()), (Code::Device, "device: number is too high: Metal's default device is the only one: expected 0, found 1"));
}

#[test]
fn a_failure_of_the_gpu_leaves_the_session_at_its_position() {
    if skipped("a_failure_of_the_gpu_leaves_the_session_at_its_position").is_some() {
        return;
    }
    let fake = Fake::new(Traits::phone());
    let written = Toy::new().write();
    let outcome = with_session(&written, OpenOptions::default(), |session| {
        session.eval(&ids(5), Logits::None, &GO)?;
        fake.fail_next("Caused GPU Timeout Error");
        let fault = session.eval(&ids(6)[5..], Logits::Last, &GO).expect_err("must fail");
        assert_eq!(fault.code, Code::Device);
        let message = toy::text(&fault);
        assert_eq!(message, "Metal device: failed while it ran the model: found `Caused GPU Timeout Error`; open the model again");
        assert_eq!(session.position(), 5);
        session.eval(&ids(6)[5..], Logits::Last, &GO)?;
        assert_eq!(session.logits()?, expected_logits(&written.weights, &ids(6)));
        Ok(())
    });
    outcome.unwrap_or_else(|fault| panic!("{}", toy::text(&fault)));
    fake.finish();
}

#[test]
fn a_library_that_is_none_fails_with_metals_words() {
    if skipped("a_library_that_is_none_fails_with_metals_words").is_some() {
        return;
    }
    let (code, message, _) = fault(Traits::phone(), OpenOptions::default(), |toy| toy.text = toy.text.replace("metal::uint3", "metal::uint5"));
    assert_eq!(code, Code::Device);
    assert!(message.contains("kernels.metal: does not compile") && message.contains("uint5"), "{message}");
    let (code, message, _) = fault(Traits::phone(), OpenOptions::default(), |toy| toy.shaders[2].entry[0] = b'b');
    assert_eq!(code, Code::Device);
    assert!(message.contains("no entry point of a shader's name (number 2)"), "{message}");
}

#[test]
fn what_the_plan_gets_wrong_shows_on_the_device() {
    if skipped("what_the_plan_gets_wrong_shows_on_the_device").is_some() {
        return;
    }
    type Change = fn(&mut Toy);
    let wrong: [(Change, &str); 4] = [
        (|toy| (toy.shaders[1].workgroup_count, toy.shaders[1].workgroup_bytes) = (0, [0; 8]), "2 threadgroup arrays, but lengths for 0"),
        (|toy| toy.shaders[1].workgroup_bytes.swap(0, 1), "threadgroup array 1 has 16 bytes"),
        (|toy| toy.shaders[0].step_slot = 4, "nothing is bound to buffer slot 3"),
        (|toy| toy.shaders[2].lanes = 64, "expected 64, found 32"),
    ];
    for (change, what) in wrong {
        let (code, message, noted) = fault(Traits::phone(), OpenOptions::default(), change);
        assert_eq!(code, Code::Device, "{message}");
        assert!(message.contains(what) || noted.iter().any(|n| n.contains(what)), "{message} {noted:?}");
    }
}

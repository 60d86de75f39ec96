//! Bundles on a Vulkan device, real or in software: the toy's answers are exact, and what is wrong is said.
//!
//! Without a device the tests that need one print how to get one and pass.

mod gpu_toy;

use std::sync::atomic::AtomicBool;

use gpu_toy::{Toy, ids};
use slmc_runtime_stub::device::{Device, Settings};
use slmc_runtime_stub::fault::{Code, Fault};
use slmc_runtime_stub::generate::{End, Generated, Generation, generate};
use slmc_runtime_stub::model::{Model, OpenOptions};
use slmc_runtime_stub::platform::vulkan::{self, Vulkan};
use slmc_runtime_stub::sample::Sampling;
use slmc_runtime_stub::session::{Logits, Session};

static GO: AtomicBool = AtomicBool::new(false);

/// False, with words, if there is no device to test on.
fn device_is_there() -> bool {
    match vulkan::devices(None, |_| {}) {
        Ok(()) => true,
        Err(fault) => {
            println!("skipped: {}; apt-get install mesa-vulkan-drivers libvulkan1 gives a device in software", gpu_toy::text(&fault));
            false
        }
    }
}

fn vulkan<'a>(model: &'a Model<'_>) -> &'a Vulkan {
    match model.device() {
        Device::Vulkan(vulkan) => vulkan,
        Device::Cpu(_) => panic!("the toy is for Vulkan"),
    }
}

#[track_caller]
fn open<T>(toy: &Toy, settings: Settings<'_>, test: impl FnOnce(&Model<'_>) -> T) -> T {
    toy.open(OpenOptions { settings, ..OpenOptions::default() }, test).unwrap_or_else(|fault| panic!("{}", gpu_toy::text(&fault)))
}

fn session<'m>(model: &'m Model<'m>) -> Session<'m> {
    Session::open(model).unwrap_or_else(|fault| panic!("{}", gpu_toy::text(&fault)))
}

/// Every way to drive a device that gives other commands.
fn ways() -> [Settings<'static>; 5] {
    let plain = Settings::default();
    [
        plain,
        Settings { direct: false, ..plain },
        Settings { piece_bytes: 1024, ..plain },
        Settings { piece_bytes: 1536, direct: false, batch: 3, ..plain },
        Settings { batch: 1, ..plain },
    ]
}

#[track_caller]
fn refused<T>(outcome: Result<T, Fault>, code: Code, words: &[&str]) {
    let Err(fault) = outcome else { panic!("must be refused: {words:?}") };
    let message = gpu_toy::text(&fault);
    assert_eq!(fault.code, code, "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is missing in {message:?}");
    }
}

#[test]
fn chunks_of_any_size_give_equal_logits_however_the_device_is_driven() {
    if !device_is_there() {
        return;
    }
    let toy = Toy::new();
    let ids = ids(61);
    let expected: Vec<f32> = (1..=ids.len()).flat_map(|n| toy.expected_logits(&ids[..n])).collect();
    for (way, settings) in ways().into_iter().enumerate() {
        open(&toy, settings, |model| {
            for chunk in [1, 2, 7, 15, 0] {
                let mut session = session(model);
                session.set_chunk(chunk).expect("in range");
                let mut all = vec![0.0; expected.len()];
                session.eval(&ids, Logits::All(&mut all), &GO).expect("fits");
                assert!(all == expected, "way {way}, chunk {chunk}");
                assert_eq!(session.logits().expect("left"), toy.expected_logits(&ids));

                session.reset();
                session.eval(&ids[..40], Logits::None, &GO).expect("fits");
                session.eval(&ids[40..], Logits::Last, &GO).expect("fits");
                assert_eq!(session.logits().expect("asked"), toy.expected_logits(&ids));
                assert_eq!(session.tokens(), ids);
            }
        });
    }
}

#[test]
fn the_device_picks_the_greedy_token_and_keeps_the_logits() {
    if !device_is_there() {
        return;
    }
    let toy = Toy::new();
    for settings in ways() {
        open(&toy, settings, |model| {
            let mut session = session(model);
            let prompt = ids(20);
            session.eval(&prompt, Logits::Pick, &GO).expect("fits");
            assert_eq!(session.sample(&Sampling::GREEDY), Ok(toy.expected_answer(&prompt, 1)[0]));
            // Fetched only now.
            assert_eq!(session.logits().expect("on the device"), toy.expected_logits(&prompt));
            assert_eq!(session.sample(&Sampling::GREEDY), Ok(toy.expected_answer(&prompt, 1)[0]));
            session.eval(&[3], Logits::Pick, &GO).expect("fits");
            let hot = Sampling { temperature: 1.0, seed: 5, ..Sampling::GREEDY };
            let drawn = session.sample(&hot).expect("fetched");
            session.rewind(20).expect("behind");
            session.eval(&[3], Logits::Last, &GO).expect("fits");
            assert_eq!(session.sample(&hot), Ok(drawn), "the same logits as without a pick");
        });
    }
}

fn answer(session: &mut Session<'_>, prompt: &[u32], max_tokens: u32) -> Result<(Vec<u32>, Generated), Fault> {
    let how = Generation { sampling: Sampling::GREEDY, max_tokens, ignore_eos: false, show_special: false, stops: &[] };
    let (mut tokens, mut done) = (Vec::new(), Generated::NONE);
    generate(
        session,
        prompt,
        &how,
        &GO,
        &mut |id, _| {
            tokens.push(id);
            true
        },
        &mut done,
    )
    .map(|()| (tokens, done))
}

#[test]
fn greedy_answers_are_those_of_the_definition() {
    if !device_is_there() {
        return;
    }
    let toy = Toy::new();
    for settings in ways() {
        open(&toy, settings, |model| {
            let mut session = session(model);
            let (tokens, done) = answer(&mut session, &ids(20), 30).expect("fits");
            assert_eq!(tokens, toy.expected_answer(&ids(20), 30));
            assert_eq!((done.end, done.tokens), (End::Limit, 30));
        });
    }
}

#[test]
fn sessions_on_several_threads_do_not_disturb_each_other() {
    if !device_is_there() {
        return;
    }
    let toy = Toy::new();
    open(&toy, Settings { batch: 2, ..Settings::default() }, |model| {
        std::thread::scope(|scope| {
            for n in 1..5 {
                let toy = &toy;
                scope.spawn(move || {
                    for _ in 0..3 {
                        let mut session = session(model);
                        session.eval(&ids(n * 12), Logits::Last, &GO).expect("fits");
                        assert_eq!(session.logits().expect("asked"), toy.expected_logits(&ids(n * 12)));
                        let (tokens, _) = answer(&mut session, &ids(n * 12), 4).expect("fits");
                        assert_eq!(tokens, toy.expected_answer(&ids(n * 12), 4));
                    }
                });
            }
        });
    });
}

#[test]
fn weights_and_caches_are_split_between_bindings() {
    if !device_is_there() {
        return;
    }
    let toy = Toy::new();
    let buffers = |piece_bytes| open(&toy, Settings { piece_bytes, ..Settings::default() }, |model| vulkan(model).weight_buffers());
    assert_eq!(buffers(1 << 30), 1);
    assert_eq!(buffers(4096), 2, "4096 lies in no binding");
    assert_eq!(buffers(3200), 3, "3200 lies in the low bias, which begins at 3072");
    assert_eq!(buffers(1024), 8);
    let options = OpenOptions { settings: Settings { piece_bytes: 512, ..Settings::default() }, ..OpenOptions::default() };
    refused(toy.open(options, |_| {}), Code::Device, &["maxMemoryAllocationSize", "one binding", "expected 1024, found 512"]);
}

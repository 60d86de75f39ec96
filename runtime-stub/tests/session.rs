//! A session gives the same logits however its input is cut into steps, and never takes what does not fit.

mod support;

use std::sync::atomic::AtomicBool;

use slmc_runtime_stub::fault::Code;
use slmc_runtime_stub::model::Model;
use slmc_runtime_stub::sample::Sampling;
use slmc_runtime_stub::session::{Logits, Session};
use support::{CHUNK, CTX, Toy, VOCAB, expected_logits};

static GO: AtomicBool = AtomicBool::new(false);

fn ids(n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * 37 + 11) % VOCAB).collect()
}

fn session<'m>(model: &'m Model<'m>) -> Session<'m> {
    Session::open(model).expect("memory")
}

#[test]
fn chunks_of_any_size_give_equal_logits_on_any_number_of_threads() {
    let toy = Toy::new(b"");
    let ids = ids(61);
    let expected: Vec<f32> = (1..=ids.len()).flat_map(|n| expected_logits(&toy.weights, &ids[..n])).collect();
    for threads in [1, 2, 3, 7] {
        toy.run(threads, |model| {
            for chunk in [1, 2, 7, 15, 0] {
                let mut session = session(model);
                session.set_chunk(chunk).expect("in range");
                let mut all = vec![0.0; expected.len()];
                session.eval(&ids, Logits::All(&mut all), &GO).expect("fits");
                assert!(all == expected, "threads {threads}, chunk {chunk}");
                assert_eq!(session.logits().expect("left"), expected_logits(&toy.weights, &ids));

                session.reset();
                session.eval(&ids[..40], Logits::None, &GO).expect("fits");
                assert_eq!(session.logits().expect_err("none asked").code, Code::State);
                session.eval(&ids[40..], Logits::Last, &GO).expect("fits");
                assert_eq!(session.logits().expect("asked"), expected_logits(&toy.weights, &ids));
                assert_eq!(session.tokens(), ids);
            }
        });
    }
}

#[test]
fn a_session_is_rewound_and_continued() {
    let toy = Toy::new(b"");
    toy.run(2, |model| {
        let mut session = session(model);
        let first = ids(30);
        session.eval(&first, Logits::Last, &GO).expect("fits");
        session.rewind(20).expect("behind");
        assert_eq!(session.position(), 20);
        assert_eq!(session.logits().expect_err("moved").code, Code::State);
        let mut other = first[..20].to_vec();
        other.extend([5, 6, 7]);
        assert_eq!(session.keep_common_prefix(&other), 20);
        session.eval(&other[20..], Logits::Last, &GO).expect("fits");
        assert_eq!(session.logits().expect("asked"), expected_logits(&toy.weights, &other));

        assert_eq!(session.rewind(24).expect_err("ahead").code, Code::Argument);
        // An identical prompt still leaves one token to evaluate, for its logits.
        assert_eq!(session.keep_common_prefix(&other), 22);
        assert_eq!(session.keep_common_prefix(&[1, 2]), 0);
    });
}

#[test]
fn a_windowed_cache_goes_back_as_far_as_it_remembers() {
    let (window, positions) = (3, CHUNK + 4);
    let toy = Toy::with(b"", |parts| {
        let slot = &mut parts.kv_slots[0];
        (slot.kind, slot.window, slot.positions) = (slmc_runtime_stub::abi::kv_kind::RING, window, positions);
    });
    toy.run(1, |model| {
        let mut session = session(model);
        session.eval(&ids(positions), Logits::None, &GO).expect("fits");
        // Nothing was overwritten yet.
        session.rewind(1).expect("all positions are there");
        session.eval(&ids(positions + 10)[1..], Logits::None, &GO).expect("fits");
        // Places of positions below 10 hold later ones; position 12 sees 10 and 11.
        assert_eq!(session.rewind(11).expect_err("overwritten").code, Code::State);
        assert_eq!(session.position(), positions + 10);
        session.rewind(12).expect("its window is there");
        // Going back does not bring positions back.
        assert_eq!(session.rewind(11).expect_err("overwritten").code, Code::State);
        assert_eq!(session.keep_common_prefix(&ids(8)), 0);
    });
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let toy = Toy::new(b"");
    toy.run(2, |model| {
        let mut session = session(model);
        session.eval(&ids(60), Logits::Last, &GO).expect("fits");
        let before = session.logits().expect("asked").to_vec();
        let mut small = vec![0.0; VOCAB as usize];
        for (input, logits, code) in [
            (ids(5), Logits::Last, Code::ContextFull),
            (ids(CTX * 3), Logits::None, Code::ContextFull),
            (vec![1, VOCAB], Logits::Last, Code::Token),
            (vec![u32::MAX], Logits::Last, Code::Token),
            (vec![], Logits::Last, Code::Argument),
            (ids(2), Logits::All(&mut small), Code::Buffer),
        ] {
            let fault = session.eval(&input, logits, &GO).expect_err("must be refused");
            assert_eq!(fault.code, code, "{}", support::text(&fault));
            assert_eq!(session.position(), 60);
            assert_eq!(session.logits().expect("untouched"), before);
        }
        session.eval(&ids(4), Logits::Last, &GO).expect("exactly full");
        assert_eq!(session.eval(&[0], Logits::Last, &GO).expect_err("full").code, Code::ContextFull);
        assert_eq!(session.set_chunk(CHUNK + 1).expect_err("too large").code, Code::Argument);
    });
}

#[test]
fn a_cancelled_evaluation_can_go_on() {
    let toy = Toy::new(b"");
    toy.run(2, |model| {
        let mut session = session(model);
        let stop = AtomicBool::new(true);
        let fault = session.eval(&ids(40), Logits::Last, &stop).expect_err("cancelled");
        assert_eq!(fault.code, Code::Cancelled);
        let done = session.position() as usize;
        session.eval(&ids(40)[done..], Logits::Last, &GO).expect("fits");
        assert_eq!(session.logits().expect("asked"), expected_logits(&toy.weights, &ids(40)));
    });
}

#[test]
fn sampling_follows_the_logits_and_repeats_with_the_seed() {
    let toy = Toy::new(b"");
    toy.run(2, |model| {
        let mut session = session(model);
        assert_eq!(session.sample(&Sampling::GREEDY).expect_err("no logits").code, Code::State);
        session.eval(&ids(9), Logits::Last, &GO).expect("fits");
        let logits = expected_logits(&toy.weights, &ids(9));
        let best = logits.iter().enumerate().fold(0, |b, (i, &l)| if l > logits[b] { i } else { b });
        assert_eq!(session.sample(&Sampling::GREEDY), Ok(best as u32));
        let hot = Sampling { temperature: 1.0, seed: 5, ..Sampling::GREEDY };
        let draw = session.sample(&hot).expect("logits");
        assert_eq!(session.sample(&hot), Ok(draw), "a draw is a function of seed and position");
        let bad = Sampling { temperature: f32::NAN, ..Sampling::GREEDY };
        assert_eq!(session.sample(&bad).expect_err("NaN").code, Code::Argument);
        assert_eq!(session.sample(&Sampling::GREEDY), Ok(best as u32), "an error leaves the session usable");
    });
}

#[test]
fn sessions_of_one_model_run_on_several_threads() {
    let toy = Toy::new(b"");
    toy.run(3, |model| {
        std::thread::scope(|scope| {
            for n in 1..6 {
                let weights = &toy.weights;
                scope.spawn(move || {
                    for _ in 0..20 {
                        let mut session = session(model);
                        session.eval(&ids(n * 10), Logits::Last, &GO).expect("fits");
                        assert_eq!(session.logits().expect("asked"), expected_logits(weights, &ids(n * 10)));
                    }
                });
            }
        });
    });
}

#[test]
fn a_measured_step_runs_every_dispatch_once() {
    let toy = Toy::new(b"");
    toy.run(2, |model| {
        let mut session = session(model);
        for n in [1, 7, 1] {
            let before = session.position();
            let step = &ids(before + n)[before as usize..];
            let mut kernels = Vec::new();
            session.profile(step, &mut |kernel, _| kernels.push(kernel)).expect("fits");
            assert_eq!(kernels, [0, 1, 2]);
            assert_eq!(session.logits().expect("computed"), expected_logits(&toy.weights, &ids(before + n)));
        }
        let fault = session.profile(&ids(CHUNK + 1), &mut |_, _| {}).expect_err("more than a step");
        assert_eq!((fault.code, session.position()), (Code::Argument, 9));
    });
}

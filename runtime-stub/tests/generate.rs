//! Answers end where they should, reuse what the cache holds, and survive cancel and a full context.

mod support;

use std::sync::atomic::AtomicBool;

use slmc_runtime_stub::fault::{Code, Fault};
use slmc_runtime_stub::generate::{End, Generated, Generation, generate};
use slmc_runtime_stub::model::Model;
use slmc_runtime_stub::sample::Sampling;
use slmc_runtime_stub::session::Session;
use support::{CTX, Toy, VOCAB, expected_logits};

const PLAIN: Generation<'static> = Generation { sampling: Sampling::GREEDY, max_tokens: 0, ignore_eos: false, show_special: false, stops: &[] };

fn ids(n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * 37 + 11) % VOCAB).collect()
}

/// The greedy answer, from the toy's definition.
fn expected(weights: &[u8], prompt: &[u32], n: usize) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    for _ in 0..n {
        let logits = expected_logits(weights, &tokens);
        tokens.push((0..logits.len()).fold(0, |b, i| if logits[i] > logits[b] { i } else { b }) as u32);
    }
    tokens.split_off(prompt.len())
}

fn run(
    session: &mut Session<'_>,
    prompt: &[u32],
    how: &Generation<'_>,
    cancel: &AtomicBool,
    mut take: impl FnMut(u32) -> bool,
) -> (Vec<u32>, Generated, Result<(), Fault>) {
    let (mut answer, mut done) = (Vec::new(), Generated::NONE);
    let mut receiver = |id: u32, _: &[u8]| {
        answer.push(id);
        take(id)
    };
    let outcome = generate(session, prompt, how, cancel, &mut receiver, &mut done);
    (answer, done, outcome)
}

fn with_session(test: impl FnOnce(&mut Session<'_>, &[u8])) {
    let toy = Toy::new(b"");
    toy.run(2, |model: &Model<'_>| test(&mut Session::open(model).expect("memory"), &toy.weights));
}

#[test]
fn the_limit_ends_an_answer_and_the_next_turn_reuses_the_cache() {
    with_session(|session, weights| {
        let go = AtomicBool::new(false);
        let how = Generation { max_tokens: 5, ..PLAIN };
        let prompt = ids(20);
        let (answer, done, outcome) = run(session, &prompt, &how, &go, |_| true);
        assert_eq!(outcome, Ok(()));
        assert_eq!(answer, expected(weights, &prompt, 5));
        assert_eq!((done.end, done.prompt_tokens, done.reused_tokens, done.tokens), (End::Limit, 20, 0, 5));

        // The last token of the answer is not in the cache yet, so 24 of the next prompt are.
        let mut next = [&prompt[..], &answer].concat();
        next.extend([1, 2, 3]);
        let (second, done, outcome) = run(session, &next, &how, &go, |_| true);
        assert_eq!(outcome, Ok(()));
        assert_eq!(second, expected(weights, &next, 5));
        assert_eq!((done.prompt_tokens, done.reused_tokens), (28, 24));

        // Another conversation with the same beginning keeps that and forgets the rest.
        let mut other = prompt[..10].to_vec();
        other.push((prompt[10] + 1) % VOCAB);
        let (third, done, _) = run(session, &other, &how, &go, |_| true);
        assert_eq!(third, expected(weights, &other, 5));
        assert_eq!(done.reused_tokens, 10);
    });
}

#[test]
fn a_full_context_is_an_error_after_the_tokens_that_fit() {
    with_session(|session, weights| {
        let go = AtomicBool::new(false);
        let prompt = ids(CTX - 3);
        let (answer, done, outcome) = run(session, &prompt, &PLAIN, &go, |_| true);
        assert_eq!(outcome.expect_err("full").code, Code::ContextFull);
        assert_eq!(answer, expected(weights, &prompt, 4));
        assert_eq!((done.end, done.tokens), (End::Failed, 4));

        let (answer, done, outcome) = run(session, &ids(CTX + 1), &PLAIN, &go, |_| true);
        assert_eq!(outcome.expect_err("too long").code, Code::ContextFull);
        assert_eq!((answer, done.prompt_tokens), (vec![], 0));
        assert_eq!(session.position(), CTX, "a refused prompt changes nothing");
        for (prompt, code) in [(vec![], Code::Argument), (vec![VOCAB], Code::Token)] {
            assert_eq!(run(session, &prompt, &PLAIN, &go, |_| true).2.expect_err("refused").code, code);
        }
    });
}

#[test]
fn cancel_and_receiver_end_an_answer_and_leave_the_session_usable() {
    with_session(|session, weights| {
        let cancel = AtomicBool::new(false);
        let prompt = ids(20);
        let mut left = 3;
        let (answer, done, outcome) = run(session, &prompt, &PLAIN, &cancel, |_| {
            left -= 1;
            if left == 0 {
                cancel.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            true
        });
        assert_eq!((outcome, done.end), (Ok(()), End::Cancelled));
        assert_eq!(answer, expected(weights, &prompt, 3));

        let (answer, done, outcome) = run(session, &prompt, &PLAIN, &cancel, |_| false);
        assert_eq!((outcome, done.end, done.tokens), (Ok(()), End::Receiver, 1));
        assert_eq!(answer, expected(weights, &prompt, 1));

        cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        let (answer, done, outcome) = run(session, &ids(40), &PLAIN, &cancel, |_| true);
        assert_eq!((answer, done.end, outcome), (vec![], End::Cancelled, Ok(())));
    });
}

#[test]
fn without_a_tokenizer_stop_strings_are_refused_and_bad_sampling_too() {
    with_session(|session, _| {
        let go = AtomicBool::new(false);
        let stops = Generation { stops: &[b"x"], ..PLAIN };
        assert_eq!(run(session, &ids(2), &stops, &go, |_| true).2.expect_err("no text").code, Code::NoText);
        let bad = Generation { sampling: Sampling { top_p: 2.0, ..Sampling::GREEDY }, ..PLAIN };
        assert_eq!(run(session, &ids(2), &bad, &go, |_| true).2.expect_err("range").code, Code::Argument);
        assert_eq!(session.position(), 0);
    });
}

//! Stop strings: text before the first one, whatever the pieces.

use slmc_runtime_stub::tokenizer::{StopError, StopMatcher};

use crate::corpus::Random;

/// What a search over the whole text says: the stop that ends first, the longest of those.
fn expected(text: &str, stops: &[&str]) -> String {
    let ends = (1..=text.len()).find_map(|end| {
        let found = stops.iter().filter(|s| text.as_bytes()[..end].ends_with(s.as_bytes())).map(|s| s.len()).max();
        found.map(|len| end - len)
    });
    String::from_utf8_lossy(&text.as_bytes()[..ends.unwrap_or(text.len())]).into_owned()
}

#[test]
fn any_cut_of_the_stream_gives_the_text_before_the_stop() {
    let mut random = Random(3);
    let stops = ["\n\n", "STOP", "aab", "aabaac", "é!"];
    let pieces = ["a", "b", "aa", "c", "\n", "S", "ST", "OP", "é", "!", "x", "aabaa"];
    for _ in 0..3000 {
        let chosen: Vec<&str> = stops.iter().copied().filter(|_| random.below(2) == 0).collect();
        let text: String = (0..random.below(14)).map(|_| pieces[random.below(pieces.len())]).collect();
        let mut matcher = StopMatcher::new();
        chosen.iter().for_each(|s| matcher.add(s.as_bytes()).expect("room"));
        let (mut seen, mut out, mut rest) = (Vec::new(), [0; 1024], text.as_bytes());
        let mut stopped = false;
        while !rest.is_empty() && !stopped {
            let (piece, after) = rest.split_at(1 + random.below(rest.len().min(5)));
            let step = matcher.push(piece, &mut out);
            seen.extend_from_slice(&out[..step.written]);
            stopped = step.stopped.is_some();
            rest = after;
        }
        if !stopped {
            let len = matcher.finish(&mut out);
            seen.extend_from_slice(&out[..len]);
        }
        assert_eq!(String::from_utf8_lossy(&seen), expected(&text, &chosen), "{text:?} {chosen:?}");
    }
}

#[test]
fn limits_are_errors() {
    let mut matcher = StopMatcher::new();
    assert_eq!(matcher.add(b""), Err(StopError::Empty));
    assert_eq!(matcher.add(&[b'x'; 513]), Err(StopError::TooLong));
    (0..16).for_each(|_| matcher.add(b"stop").expect("room"));
    assert_eq!(matcher.add(b"more"), Err(StopError::TooMany));
}

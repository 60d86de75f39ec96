//! The data of NFC as tables: canonical decompositions, combining classes, compositions. Hangul is arithmetic and left to the runtime.

use std::sync::LazyLock;

use unicode_normalization::char::{canonical_combining_class, compose, decompose_canonical};

/// Words of [`Section::Nfc`](slmc_runtime_stub::tokenizer::format::Section::Nfc).
pub(super) fn nfc_words() -> Vec<u32> {
    static WORDS: LazyLock<Vec<u32>> = LazyLock::new(words);
    WORDS.clone()
}

fn words() -> Vec<u32> {
    let (mut rows, mut points, mut classes, mut pairs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for c in '\0'..=char::MAX {
        let class = canonical_combining_class(c);
        if class != 0 {
            classes.push([u32::from(c), u32::from(class)]);
        }
        if ('\u{ac00}'..='\u{d7a3}').contains(&c) {
            continue;
        }
        let mut parts = Vec::new();
        decompose_canonical(c, |part| parts.push(part));
        if parts == [c] {
            continue;
        }
        rows.push([c.into(), points.len() as u32, parts.len() as u32]);
        points.extend(parts.iter().map(|&part| u32::from(part)));
        if let Some((&last, init)) = parts.split_last() {
            let first = init.iter().copied().map(Some).reduce(|a, b| compose(a?, b?)).flatten();
            if let Some(first) = first.filter(|&first| compose(first, last) == Some(c)) {
                pairs.push([u32::from(first), last.into(), c.into()]);
            }
        }
    }
    pairs.sort_unstable();
    let counts = [rows.len(), points.len(), classes.len(), pairs.len()].map(|n| n as u32);
    counts
        .into_iter()
        .chain(rows.into_iter().flatten())
        .chain(points)
        .chain(classes.into_iter().flatten())
        .chain(pairs.into_iter().flatten())
        .collect()
}

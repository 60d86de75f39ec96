//! Scoring a text: what a model makes of each of its tokens, and how far two models are apart on them.
//!
//! A text is cut into windows of a fixed number of positions, none of which overlaps another. Each starts from an empty cache with
//! the tokens that the model's tokenizer puts before a text, if there are any. Scored is each token of the text that has something before it
//! in its window: all of them behind such tokens, else all but the first of a window. So a longer window gives a lower perplexity, and
//! figures compare only where windows are equal; tools that score the later half of each window only, or slide it, find lower ones.
//!
//! Logits are held a piece of a window at a time; of a row only its numbers remain.

use crate::compare::{CompareError, LogitGap, surprisal};
use crate::engine::{Engine, EngineError};

/// Rows of logits held at once, where steps are not longer.
const ROWS: usize = 256;

/// Something that gives a row of logits for each token.
pub trait Rows {
    /// Why it cannot.
    type Error;

    /// Numbers in a row.
    fn vocab(&self) -> usize;

    /// Tokens of a call that keeps to the model's own steps.
    fn piece(&self) -> usize;

    /// Forgets all tokens.
    ///
    /// # Errors
    /// The model's own.
    fn restart(&mut self) -> Result<(), Self::Error>;

    /// Appends tokens; `[tokens, vocab]`.
    ///
    /// # Errors
    /// The model's own.
    fn rows(&mut self, ids: &[u32]) -> Result<Vec<f32>, Self::Error>;
}

impl Rows for Engine {
    type Error = EngineError;

    fn vocab(&self) -> usize {
        self.info().vocab as usize
    }

    fn piece(&self) -> usize {
        let step = self.info().chunk.max(1) as usize;
        (ROWS / step).max(1) * step
    }

    fn restart(&mut self) -> Result<(), EngineError> {
        self.reset()
    }

    fn rows(&mut self, ids: &[u32]) -> Result<Vec<f32>, EngineError> {
        self.eval_all(ids)
    }
}

/// Why a text cannot be scored; `E` is what the model says.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError<E> {
    /// The model failed.
    #[error("{0}")]
    Model(E),
    /// Two models with different numbers of tokens.
    #[error("{0}")]
    Compare(#[from] CompareError),
    /// A token that the model has no logit for.
    #[error("token id {id} is not below the model's {vocab} tokens")]
    Token {
        /// The token.
        id: u32,
        /// The model's tokens.
        vocab: usize,
    },
    /// Windows too short to predict anything.
    #[error("windows of {length} tokens hold nothing to score: expected at least {least}")]
    Window {
        /// Positions of a window.
        length: usize,
        /// Positions that hold a scored token.
        least: usize,
    },
    /// No token has anything before it.
    #[error("a text of {tokens} tokens holds nothing to score")]
    Text {
        /// Tokens of the text.
        tokens: usize,
    },
}

/// A text cut into windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    begin: Vec<u32>,
    text: Vec<u32>,
    length: usize,
}

/// The tokens of a window and the place of the first scored one, never 0.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    ids: Vec<u32>,
    first: usize,
}

impl Windows {
    /// Windows of `length` positions over `text`, each with `begin` before its part of the text.
    ///
    /// # Errors
    /// [`ScoreError::Window`], [`ScoreError::Text`].
    pub fn new<E>(begin: Vec<u32>, text: Vec<u32>, length: usize) -> Result<Self, ScoreError<E>> {
        let least = begin.len().max(1) + 1;
        if length < least {
            return Err(ScoreError::Window { length, least });
        }
        let windows = Self { begin, text, length };
        if windows.count() == 0 { Err(ScoreError::Text { tokens: windows.text.len() }) } else { Ok(windows) }
    }

    /// Windows in which something is scored.
    pub fn count(&self) -> usize {
        self.each().count()
    }

    /// Tokens that are scored.
    pub fn scored(&self) -> usize {
        self.each().map(|window| window.ids.len() - window.first).sum()
    }

    /// Tokens that a model goes through: all of a window but its last.
    pub fn evaluated(&self) -> usize {
        self.each().map(|window| window.ids.len() - 1).sum()
    }

    fn each(&self) -> impl Iterator<Item = Window> {
        let first = self.begin.len().max(1);
        let windows = self.text.chunks(self.length - self.begin.len()).map(move |part| Window { ids: [self.begin.as_slice(), part].concat(), first });
        windows.filter(move |window| window.ids.len() > first)
    }
}

/// Surprise at the tokens of a text, gathered token by token.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Perplexity {
    tokens: usize,
    sum: f64,
    squares: f64,
}

impl Perplexity {
    /// Adds a token of probability `exp(−nats)`.
    pub fn add(&mut self, nats: f64) {
        self.tokens += 1;
        self.sum += nats;
        self.squares += nats * nats;
    }

    /// Tokens added.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Mean surprise in nats; NaN without tokens or if a token's was.
    pub fn mean(&self) -> f64 {
        self.sum / self.tokens as f64
    }

    /// `exp` of the mean surprise.
    pub fn value(&self) -> f64 {
        self.mean().exp()
    }

    /// Standard error of [`Perplexity::value`]: that of the mean surprise times the value, as if tokens were independent. NaN with
    /// fewer than two tokens.
    pub fn standard_error(&self) -> f64 {
        if self.tokens < 2 {
            return f64::NAN;
        }
        let n = self.tokens as f64;
        // Equal surprises can come out a little below zero.
        let variance = ((self.squares - self.sum * self.sum / n) / (n - 1.0)).max(0.0);
        self.value() * (variance / n).sqrt()
    }
}

/// What two models make of one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Of the first, which is the reference.
    pub first: Perplexity,
    /// Of the second.
    pub second: Perplexity,
    /// The second's logits against the first's, in each row that predicts a scored token.
    pub gap: LogitGap,
}

/// Scores a text. `watch` is told the number of tokens gone through since its last call.
///
/// # Errors
/// [`ScoreError`].
pub fn perplexity<M: Rows>(model: &mut M, windows: &Windows, watch: &mut dyn FnMut(usize)) -> Result<Perplexity, ScoreError<M::Error>> {
    let (vocab, piece) = (model.vocab(), model.piece());
    let mut found = Perplexity::default();
    for window in windows.each() {
        model.restart().map_err(ScoreError::Model)?;
        for part in parts(&window, piece) {
            let rows = model.rows(part.fed).map_err(ScoreError::Model)?;
            gather(&mut found, &rows[part.skipped * vocab..], vocab, part.next)?;
            watch(part.fed.len());
        }
    }
    Ok(found)
}

/// Scores a text with two models, `first` being the reference. `watch` is told the number of tokens that both went through.
///
/// # Errors
/// [`ScoreError`]; models with different numbers of tokens.
pub fn compare<A: Rows, B: Rows<Error = A::Error>>(
    first: &mut A,
    second: &mut B,
    windows: &Windows,
    watch: &mut dyn FnMut(usize),
) -> Result<Comparison, ScoreError<A::Error>> {
    let (vocab, piece) = (first.vocab(), first.piece().max(second.piece()));
    let mut found = Comparison { first: Perplexity::default(), second: Perplexity::default(), gap: LogitGap::new(vocab) };
    for window in windows.each() {
        first.restart().map_err(ScoreError::Model)?;
        second.restart().map_err(ScoreError::Model)?;
        for part in parts(&window, piece) {
            let a = first.rows(part.fed).map_err(ScoreError::Model)?;
            let b = second.rows(part.fed).map_err(ScoreError::Model)?;
            found.gap.add(&a[part.skipped * vocab..], &b[part.skipped * second.vocab()..])?;
            gather(&mut found.first, &a[part.skipped * vocab..], vocab, part.next)?;
            gather(&mut found.second, &b[part.skipped * vocab..], vocab, part.next)?;
            watch(part.fed.len());
        }
    }
    Ok(found)
}

/// A piece of a window: the tokens fed, the rows of them that predict nothing scored, and what the others predict.
struct Part<'w> {
    fed: &'w [u32],
    skipped: usize,
    next: &'w [u32],
}

fn parts(window: &Window, piece: usize) -> impl Iterator<Item = Part<'_>> {
    let fed = &window.ids[..window.ids.len() - 1];
    let piece = piece.max(1);
    fed.chunks(piece).enumerate().map(move |(i, fed)| {
        let start = i * piece;
        let skipped = (window.first - 1).saturating_sub(start).min(fed.len());
        Part { fed, skipped, next: &window.ids[start + skipped + 1..=start + fed.len()] }
    })
}

fn gather<E>(found: &mut Perplexity, rows: &[f32], vocab: usize, next: &[u32]) -> Result<(), ScoreError<E>> {
    for (row, &id) in rows.chunks_exact(vocab.max(1)).zip(next) {
        found.add(surprisal(row, id).ok_or(ScoreError::Token { id, vocab })?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Knows four tokens, and expects each to be followed by the next one `odds` times as likely as any other.
    struct Cycle {
        odds: f32,
        piece: usize,
        calls: Vec<Vec<u32>>,
    }

    impl Cycle {
        fn new(odds: f32, piece: usize) -> Self {
            Self { odds, piece, calls: Vec::new() }
        }
    }

    impl Rows for Cycle {
        type Error = String;

        fn vocab(&self) -> usize {
            4
        }

        fn piece(&self) -> usize {
            self.piece
        }

        fn restart(&mut self) -> Result<(), String> {
            self.calls.push(Vec::new());
            Ok(())
        }

        fn rows(&mut self, ids: &[u32]) -> Result<Vec<f32>, String> {
            self.calls.last_mut().ok_or("no restart")?.extend(ids);
            let row = |id: &u32| (0..4).map(|i| if i == (id + 1) % 4 { self.odds.ln() } else { 0.0 }).collect::<Vec<f32>>();
            Ok(ids.iter().flat_map(row).collect())
        }
    }

    fn windows(begin: &[u32], text: &[u32], length: usize) -> Windows {
        Windows::new::<String>(begin.to_vec(), text.to_vec(), length).unwrap()
    }

    #[test]
    fn a_window_scores_what_has_something_before_it() {
        let text = [0, 1, 2, 3, 0, 1, 2];
        let plain = windows(&[], &text, 3);
        // The seventh token stands alone in its window.
        assert_eq!((plain.count(), plain.scored(), plain.evaluated()), (2, 4, 4));
        let begun = windows(&[3], &text, 3);
        assert_eq!((begun.count(), begun.scored(), begun.evaluated()), (4, 7, 7));
        let twice = windows(&[2, 3], &text, 4);
        assert_eq!((twice.count(), twice.scored(), twice.evaluated()), (4, 7, 11));
        let short = Windows::new::<String>(vec![2, 3], text.to_vec(), 2).unwrap_err();
        assert_eq!(short.to_string(), "windows of 2 tokens hold nothing to score: expected at least 3");
        assert!(matches!(Windows::new::<String>(vec![], vec![1], 8), Err(ScoreError::Text { tokens: 1 })));
        assert!(matches!(Windows::new::<String>(vec![1], vec![], 8), Err(ScoreError::Text { tokens: 0 })));
    }

    #[test]
    fn perplexity_is_that_of_the_tokens_whatever_the_pieces() {
        // Expected tokens have 3 of 6 parts, the one that breaks the cycle 1 of 6.
        let text = [0, 1, 2, 3, 3, 0];
        let want: f64 = (4.0 * 2.0f64.ln() + 6.0f64.ln()) / 5.0;
        for piece in [1, 2, 3, 100] {
            let (mut model, mut seen) = (Cycle::new(3.0, piece), 0);
            let found = perplexity(&mut model, &windows(&[], &text, 6), &mut |n| seen += n).unwrap();
            assert_eq!((found.tokens(), seen), (5, 5));
            assert!((found.mean() - want).abs() < 1e-6 && (found.value() - want.exp()).abs() < 1e-5, "{found:?}");
            assert_eq!(model.calls, [vec![0, 1, 2, 3, 3]]);
        }
        for piece in [1, 2, 3] {
            let mut model = Cycle::new(3.0, piece);
            let found = perplexity(&mut model, &windows(&[2, 3], &[0, 1, 1], 4), &mut |_| {}).unwrap();
            // 3 → 0 → 1, and again 3 → 1.
            assert!((found.mean() - (2.0 * 2.0f64.ln() + 6.0f64.ln()) / 3.0).abs() < 1e-6, "{found:?}");
            assert_eq!(model.calls, [vec![2, 3, 0], vec![2, 3]]);
        }
    }

    #[test]
    fn the_error_is_that_of_a_mean() {
        let mut found = Perplexity::default();
        assert!(found.value().is_nan() && found.standard_error().is_nan());
        [1.0, 2.0, 3.0].iter().for_each(|nats| found.add(*nats));
        assert!((found.standard_error() - 2.0f64.exp() / 3.0f64.sqrt()).abs() < 1e-12);
        found.add(f64::NAN);
        assert!(found.value().is_nan() && found.standard_error().is_nan());
    }

    #[test]
    fn two_models_are_compared_where_tokens_are_scored() {
        let windows = windows(&[2, 3], &[0, 1, 2, 3, 3], 5);
        let (mut a, mut b) = (Cycle::new(3.0, 2), Cycle::new(9.0, 3));
        let found = compare(&mut a, &mut b, &windows, &mut |_| {}).unwrap();
        assert_eq!((found.gap.rows(), found.gap.same_top(), found.first.tokens(), found.second.tokens()), (5, 5, 5, 5));
        // p = (1/2, 1/6 × 3), q = (3/4, 1/12 × 3): ½ ln ⅔ + ½ ln 2.
        let kl = found.gap.divergence();
        assert!((kl.mean - 0.5 * (4.0f64 / 3.0).ln()).abs() < 1e-6 && (kl.p99 - kl.median).abs() < 1e-9, "{kl:?}");
        assert!((found.gap.largest_difference() - 3.0f64.ln()).abs() < 1e-6);
        let alone = perplexity(&mut b, &windows, &mut |_| {}).unwrap();
        assert_eq!(alone, found.second);
        let same = compare(&mut a, &mut Cycle::new(3.0, 1), &windows, &mut |_| {}).unwrap();
        assert_eq!((same.gap.divergence().max, same.first), (0.0, same.second));
    }

    #[test]
    fn a_token_without_a_logit_is_named() {
        let error = perplexity(&mut Cycle::new(3.0, 2), &windows(&[], &[1, 7], 8), &mut |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "token id 7 is not below the model's 4 tokens");
    }
}

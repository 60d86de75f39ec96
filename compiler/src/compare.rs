//! How far two runs of a model are apart: logits row by row, token sequences, rows of hidden states.
//!
//! Everything is pure and works in f64. A number that is not finite is never averaged away: it makes the largest
//! difference infinite and is counted.

use std::fmt;

/// What a comparison was given is not comparable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// Lengths differ, or are no whole number of rows.
    #[error("{reference} and {other} numbers cannot be compared in rows of {width}: expected equal counts of whole rows")]
    Lengths {
        /// Numbers of the reference.
        reference: usize,
        /// Numbers of the other.
        other: usize,
        /// Numbers in a row.
        width: usize,
    },
}

/// Differences between logits, gathered over any number of sequences.
#[derive(Debug, Clone, PartialEq)]
pub struct LogitGap {
    vocab: usize,
    largest: f64,
    not_finite: usize,
    same_top: usize,
    divergences: Vec<f64>,
}

impl LogitGap {
    /// Nothing yet, of models with `vocab` tokens.
    pub fn new(vocab: usize) -> Self {
        Self { vocab, largest: 0.0, not_finite: 0, same_top: 0, divergences: Vec::new() }
    }

    /// Adds the rows of a sequence, `[T, V]` each.
    pub fn add(&mut self, reference: &[f32], other: &[f32]) -> Result<(), CompareError> {
        check_rows(reference, other, self.vocab)?;
        for (p, q) in reference.chunks_exact(self.vocab).zip(other.chunks_exact(self.vocab)) {
            self.not_finite += p.iter().chain(q).filter(|x| !x.is_finite()).count();
            self.largest = self.largest.max(largest_difference(p, q));
            self.same_top += usize::from(top(p) == top(q));
            self.divergences.push(kl_divergence(p, q));
        }
        Ok(())
    }

    /// Rows compared.
    pub fn rows(&self) -> usize {
        self.divergences.len()
    }

    /// The largest absolute difference of two logits.
    pub fn largest_difference(&self) -> f64 {
        self.largest
    }

    /// Numbers, in either, that are NaN or infinite.
    pub fn not_finite(&self) -> usize {
        self.not_finite
    }

    /// Rows in which both have the same likeliest token.
    pub fn same_top(&self) -> usize {
        self.same_top
    }

    /// Kullback–Leibler divergence of the other from the reference, in nats a row. NaN if there are no rows or a row has one.
    pub fn divergence(&self) -> Divergence {
        let mut sorted = self.divergences.clone();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        if n == 0 || sorted.iter().any(|d| d.is_nan()) {
            return Divergence { mean: f64::NAN, median: f64::NAN, p99: f64::NAN, max: f64::NAN };
        }
        let median = if n % 2 == 1 { sorted[n / 2] } else { (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0 };
        // The nearest rank is the least one with 99 of 100 rows at or below it; in whole numbers, as 0.99 is none.
        let p99 = sorted[(n * 99).div_ceil(100) - 1];
        Divergence { mean: sorted.iter().sum::<f64>() / n as f64, median, p99, max: sorted[n - 1] }
    }
}

/// Statistics of the divergences of rows, in nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Divergence {
    /// Arithmetic mean.
    pub mean: f64,
    /// Middle one, or the mean of the middle two.
    pub median: f64,
    /// The 99 % quantile by nearest rank: the least that 99 % of the rows do not exceed, itself the divergence of a row. Of fewer than
    /// 100 rows it is the largest.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

/// `sup |a − b|`; infinite if anything is not finite.
///
/// # Panics
/// If the lengths differ.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "invariant: only equal lengths are compared");
    a.iter().zip(b).fold(0.0, |most, (&a, &b)| {
        let gap = (f64::from(a) - f64::from(b)).abs();
        if gap.is_finite() { most.max(gap) } else { f64::INFINITY }
    })
}

/// `Σ p (ln p − ln q)` in nats, where p and q are the softmax of the rows. Never negative; NaN if a logit is not finite.
pub fn kl_divergence(reference: &[f32], other: &[f32]) -> f64 {
    if reference.iter().chain(other).any(|x| !x.is_finite()) {
        return f64::NAN;
    }
    let (p, q) = (log_softmax(reference), log_softmax(other));
    let sum: f64 = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum();
    // Equal rows can sum to a little below zero.
    sum.max(0.0)
}

/// `x − ln Σ exp x`, stable.
pub fn log_softmax(row: &[f32]) -> Vec<f64> {
    let shift = log_sum(row);
    row.iter().map(|&x| f64::from(x) - shift).collect()
}

/// `ln Σ exp x`, stable.
fn log_sum(row: &[f32]) -> f64 {
    let max = row.iter().fold(f64::NEG_INFINITY, |m, &x| m.max(f64::from(x)));
    let total: f64 = row.iter().map(|&x| (f64::from(x) - max).exp()).sum();
    max + total.ln()
}

/// The index of the largest number; of equal ones the first. NaN is smaller than any; an empty row gives 0.
pub fn top(row: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (i, &x) in row.iter().enumerate() {
        if x > best.1 {
            best = (i, x);
        }
    }
    best.0 as u32
}

/// `−ln p(next)` in nats, where p is the softmax of the row. NaN if a logit is not finite; `None` if the row has no token `next`.
pub fn surprisal(row: &[f32], next: u32) -> Option<f64> {
    let logit = f64::from(*row.get(next as usize)?);
    if row.iter().any(|x| !x.is_finite()) {
        return Some(f64::NAN);
    }
    Some(log_sum(row) - logit)
}

/// Sum over t ≥ 1 of `−ln p(tokens[t] | tokens[..t])`, in nats, and the number of terms; `logits` `[T, V]` of these tokens.
/// Divided and raised to e it is the perplexity.
pub fn surprise(logits: &[f32], vocab: usize, tokens: &[u32]) -> (f64, usize) {
    let rows = logits.chunks_exact(vocab.max(1)).zip(tokens.iter().skip(1));
    rows.fold((0.0, 0), |(sum, n), (row, &next)| match surprisal(row, next) {
        Some(nats) => (sum + nats, n + 1),
        None => (sum, n),
    })
}

/// Agreement of token sequences, gathered over any number of pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenAgreement {
    /// Places compared: the longer of each pair.
    pub places: usize,
    /// Places before the first difference of each pair, and so at which both had seen the same.
    pub agreed: usize,
    /// Pairs compared.
    pub sequences: usize,
    /// Pairs that are equal.
    pub equal: usize,
}

impl TokenAgreement {
    /// Adds a pair.
    pub fn add(&mut self, a: &[u32], b: &[u32]) {
        self.places += a.len().max(b.len());
        self.agreed += a.iter().zip(b).take_while(|(a, b)| a == b).count();
        self.sequences += 1;
        self.equal += usize::from(a == b);
    }
}

impl fmt::Display for TokenAgreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} tokens, {} of {} continuations equal", self.agreed, self.places, self.equal, self.sequences)
    }
}

/// Difference of hidden states, gathered over any number of sequences.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StateGap {
    /// Largest absolute difference.
    pub largest: f64,
    squares: f64,
    difference_squares: f64,
}

impl StateGap {
    /// Adds states of equal shape.
    pub fn add(&mut self, reference: &[f32], other: &[f32]) -> Result<(), CompareError> {
        check_rows(reference, other, 1)?;
        self.largest = self.largest.max(largest_difference(reference, other));
        for (&a, &b) in reference.iter().zip(other) {
            let (a, b) = (f64::from(a), f64::from(b));
            self.squares += a * a;
            self.difference_squares += (a - b) * (a - b);
        }
        Ok(())
    }

    /// Root of mean squared difference over the root mean square of the reference; 0 if nothing differs.
    pub fn relative(&self) -> f64 {
        if self.difference_squares == 0.0 { 0.0 } else { (self.difference_squares / self.squares).sqrt() }
    }
}

fn check_rows(reference: &[f32], other: &[f32], width: usize) -> Result<(), CompareError> {
    if width == 0 || reference.len() != other.len() || !reference.len().is_multiple_of(width) {
        return Err(CompareError::Lengths { reference: reference.len(), other: other.len(), width });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_is_that_of_the_distributions() {
        // p = (1/2, 1/2), q = (1/4, 3/4): ½ ln 2 + ½ ln ⅔.
        let want = 0.5 * 2.0f64.ln() + 0.5 * (2.0f64 / 3.0).ln();
        let got = kl_divergence(&[7.0, 7.0], &[1.0, 1.0 + 3.0f32.ln()]);
        assert!((got - want).abs() < 1e-7, "{got} {want}");
        assert_eq!(kl_divergence(&[1.0, -2.0, 3.0], &[1.0, -2.0, 3.0]), 0.0);
        // A shift of all logits changes nothing, and large logits do not overflow.
        assert!(kl_divergence(&[1000.0, 998.0], &[2.0, 0.0]) < 1e-12);
    }

    #[test]
    fn gaps_gather_over_sequences() {
        let mut gap = LogitGap::new(2);
        gap.add(&[0.0, 1.0, 5.0, 0.0], &[0.0, 1.25, 0.0, 5.0]).unwrap();
        gap.add(&[0.0, 1.0], &[0.0, 1.0]).unwrap();
        assert_eq!((gap.rows(), gap.same_top(), gap.not_finite(), gap.largest_difference()), (3, 2, 0, 5.0));
        let d = gap.divergence();
        assert!(d.max > d.mean && d.mean > d.median && d.median > 0.0, "{d:?}");
        assert_eq!(gap.add(&[0.0; 3], &[0.0; 3]), Err(CompareError::Lengths { reference: 3, other: 3, width: 2 }));
        assert!(gap.add(&[0.0; 2], &[0.0; 4]).unwrap_err().to_string().contains("rows of 2"));
        assert!(LogitGap::new(0).add(&[], &[]).is_err());
    }

    #[test]
    fn what_is_not_finite_is_never_averaged_away() {
        let mut gap = LogitGap::new(2);
        gap.add(&[0.0, 1.0, 0.0, 1.0], &[0.0, 1.0, f32::NAN, 1.0]).unwrap();
        assert_eq!((gap.not_finite(), gap.largest_difference()), (1, f64::INFINITY));
        assert!(gap.divergence().mean.is_nan());
        assert!(LogitGap::new(2).divergence().mean.is_nan());
    }

    #[test]
    fn the_first_of_equal_logits_is_the_top() {
        assert_eq!((top(&[1.0, 3.0, 3.0]), top(&[f32::NAN, -1.0]), top(&[])), (1, 1, 0));
    }

    #[test]
    fn agreement_ends_at_the_first_difference() {
        let mut tokens = TokenAgreement::default();
        tokens.add(&[1, 2, 3, 4], &[1, 2, 9, 4]);
        tokens.add(&[1, 2], &[1, 2]);
        tokens.add(&[], &[5]);
        assert_eq!(tokens, TokenAgreement { places: 7, agreed: 4, sequences: 3, equal: 1 });
        assert_eq!(tokens.to_string(), "4 of 7 tokens, 1 of 3 continuations equal");
    }

    #[test]
    fn surprise_is_of_the_next_token() {
        // Even odds for the second token; the last row predicts nothing that is known.
        let (nats, terms) = surprise(&[4.0, 4.0, 0.0, 9.0], 2, &[0, 1]);
        assert_eq!(terms, 1);
        assert!((nats - 2.0f64.ln()).abs() < 1e-12);
        assert_eq!(surprisal(&[4.0, 4.0], 2), None);
        assert!(surprisal(&[4.0, f32::INFINITY], 0).is_some_and(f64::is_nan));
    }

    #[test]
    fn the_quantile_is_that_of_the_nearest_rank() {
        let of = |rows: usize| {
            let divergences = (1..=rows).rev().map(|i| i as f64).collect();
            LogitGap { divergences, ..LogitGap::new(2) }.divergence().p99
        };
        assert_eq!([1, 2, 99, 100, 101, 200, 1000].map(of), [1.0, 2.0, 99.0, 99.0, 100.0, 198.0, 990.0]);
    }

    #[test]
    fn states_are_measured_against_their_size() {
        let mut gap = StateGap::default();
        gap.add(&[3.0, 4.0], &[3.0, 4.5]).unwrap();
        assert_eq!((gap.largest, gap.relative()), (0.5, 0.1));
        assert_eq!(StateGap::default().relative(), 0.0);
        assert!(gap.add(&[1.0], &[]).is_err());
    }
}

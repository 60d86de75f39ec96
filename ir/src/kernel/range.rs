//! Proofs about integers: linear forms over atoms, intervals of atoms, and linear facts.
//!
//! Every integer value of a kernel is a [`Form`] `Σ c·a + k` whose atoms `a` are the numbers that a launch gives (T, P, ROW,
//! tile, lane), iteration counts of loops, and results of whatever is not linear (loads, quotients, minima, …). An atom has an
//! interval; beside the intervals stand facts `form <= 0`: `P + T − ctx <= 0`, `q·d − a <= 0` of a quotient, `m − a <= 0` of
//! a minimum, `i − end + 1 <= 0` in a loop, and the comparison around a block.
//!
//! [`Facts::most`] bounds a form by eliminating its newest atom, by its interval or by any fact whose newest atom it is, and
//! takes the best result. Facts speak of older atoms only, so that ends; each result is a bound, so leaving off early (there
//! is a budget) is sound. A value of several lanes has one form that holds in each lane by itself.

use std::collections::BTreeMap;

/// How many eliminations one bound may cost.
const BUDGET: u32 = 600;

/// A linear form over atoms; terms are sorted by atom and have no zero coefficients.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Form {
    terms: Vec<(usize, i128)>,
    constant: i128,
}

impl Form {
    /// A number.
    pub fn constant(constant: i128) -> Self {
        Self { terms: Vec::new(), constant }
    }

    /// One atom.
    fn atom(atom: usize) -> Self {
        Self { terms: vec![(atom, 1)], constant: 0 }
    }

    /// The number, if the form is one.
    pub fn as_constant(&self) -> Option<i128> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// `self + factor · other`; `None` if a coefficient leaves 128 bits.
    pub fn plus(&self, other: &Form, factor: i128) -> Option<Form> {
        let mut terms = Vec::with_capacity(self.terms.len() + other.terms.len());
        let (mut a, mut b) = (self.terms.iter().peekable(), other.terms.iter().peekable());
        loop {
            let term = match (a.peek(), b.peek()) {
                (None, None) => break,
                (Some(&&(i, x)), Some(&&(j, y))) if i == j => {
                    a.next();
                    b.next();
                    (i, x.checked_add(y.checked_mul(factor)?)?)
                }
                (Some(&&(i, x)), other) if other.is_none_or(|&&(j, _)| i < j) => {
                    a.next();
                    (i, x)
                }
                (_, Some(&&(j, y))) => {
                    b.next();
                    (j, y.checked_mul(factor)?)
                }
                (Some(_), None) => break,
            };
            if term.1 != 0 {
                terms.push(term);
            }
        }
        Some(Form { terms, constant: self.constant.checked_add(other.constant.checked_mul(factor)?)? })
    }

    /// `factor · self`.
    pub fn times(&self, factor: i128) -> Option<Form> {
        Form::constant(0).plus(self, factor)
    }

    /// `self + k`.
    pub fn offset(&self, k: i128) -> Option<Form> {
        Some(Form { terms: self.terms.clone(), constant: self.constant.checked_add(k)? })
    }

    fn newest(&self) -> Option<(usize, i128)> {
        self.terms.last().copied()
    }

    /// The equivalent of `self <= 0` over integers with coprime coefficients.
    fn tightened(&self) -> Form {
        let divisor = self.terms.iter().fold(0, |g, &(_, c)| gcd(g, c.unsigned_abs()));
        let Ok(divisor @ 2..) = i128::try_from(divisor) else { return self.clone() };
        let terms = self.terms.iter().map(|&(a, c)| (a, c / divisor)).collect();
        Form { terms, constant: -(-self.constant).div_euclid(divisor) }
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What is known at one place of a kernel.
#[derive(Debug, Default)]
pub struct Facts {
    /// Interval of each atom.
    atoms: Vec<(i128, i128)>,
    /// Facts `form <= 0`, by their newest atom.
    facts: Vec<Vec<Form>>,
    /// Atoms to which [`Facts::assume`] added a fact that a scope will take back.
    trail: Vec<usize>,
    /// Quotients by dividend and divisor; of several, the last knows most of the scope that is open.
    quotients: BTreeMap<(Form, i128), Vec<Form>>,
}

/// A place to which [`Facts::leave`] goes back.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    trail: usize,
    atoms: usize,
}

impl Facts {
    /// An unknown number in an interval; a constant if that has one element.
    pub fn unknown(&mut self, low: i128, high: i128) -> Form {
        if low == high {
            return Form::constant(low);
        }
        self.atoms.push((low, high));
        self.facts.push(Vec::new());
        Form::atom(self.atoms.len() - 1)
    }

    /// Adds `form <= 0` for good. It must hold in every scope, so inside one only what defines a new atom can be learned.
    pub fn learn(&mut self, form: &Form) {
        if let Some(form) = self.useful(form) {
            self.facts[form.1].push(form.0);
        }
    }

    /// Adds `form <= 0` until the scope is left.
    pub fn assume(&mut self, form: &Form) {
        if let Some((form, atom)) = self.useful(form) {
            self.facts[atom].push(form);
            self.trail.push(atom);
        }
    }

    fn useful(&self, form: &Form) -> Option<(Form, usize)> {
        let form = form.tightened();
        let (atom, _) = form.newest()?;
        (!self.facts[atom].contains(&form)).then_some((form, atom))
    }

    /// Opens a scope.
    pub fn enter(&self) -> Scope {
        Scope { trail: self.trail.len(), atoms: self.atoms.len() }
    }

    /// Forgets what was assumed in a scope, and the quotients whose intervals may rest on it.
    pub fn leave(&mut self, scope: Scope) {
        for atom in self.trail.drain(scope.trail..).rev() {
            self.facts[atom].pop();
        }
        self.quotients.retain(|_, known| {
            known.retain(|q| q.newest().is_some_and(|(a, _)| a < scope.atoms));
            !known.is_empty()
        });
    }

    /// The least and greatest value of a form by intervals alone.
    fn quick(&self, form: &Form) -> Option<i128> {
        form.terms.iter().try_fold(form.constant, |sum, &(a, c)| {
            let (low, high) = self.atoms[a];
            sum.checked_add(c.checked_mul(if c > 0 { high } else { low })?)
        })
    }

    /// An upper bound of a form; `None` if there is none in 128 bits.
    pub fn most(&self, form: &Form) -> Option<i128> {
        let mut budget = BUDGET;
        self.search(form, &mut budget)
    }

    /// A lower bound of a form.
    pub fn least(&self, form: &Form) -> Option<i128> {
        Some(-self.most(&form.times(-1)?)?)
    }

    /// Both bounds, cut to an interval that is known to hold.
    pub fn within(&self, form: &Form, low: i128, high: i128) -> (i128, i128) {
        (self.least(form).map_or(low, |x| x.max(low)), self.most(form).map_or(high, |x| x.min(high)))
    }

    /// Whether `form <= limit` can be proven.
    pub fn at_most(&self, form: &Form, limit: i128) -> bool {
        self.quick(form).is_some_and(|x| x <= limit) || self.most(form).is_some_and(|x| x <= limit)
    }

    /// Whether `form >= limit` can be proven.
    pub fn at_least(&self, form: &Form, limit: i128) -> bool {
        form.times(-1).is_some_and(|f| self.at_most(&f, -limit))
    }

    fn search(&self, form: &Form, budget: &mut u32) -> Option<i128> {
        let mut best = self.quick(form);
        let Some((atom, c)) = form.newest() else { return Some(form.constant) };
        if *budget == 0 {
            return best;
        }
        *budget -= 1;
        let mut improve = |bound: Option<i128>| best = [best, bound].into_iter().flatten().min();
        for fact in &self.facts[atom] {
            let k = fact.newest().map_or(0, |(_, k)| k);
            if k == 0 || (k > 0) != (c > 0) {
                continue;
            }
            // `scale · form − factor · fact` has no `atom`, and bounds `scale · form` from above as `fact <= 0 < factor`.
            let g = gcd(c.unsigned_abs(), k.unsigned_abs()) as i128;
            let (scale, factor) = (k.abs() / g, c.abs() / g);
            let rest = form.times(scale).and_then(|f| f.plus(fact, -factor));
            improve(rest.and_then(|rest| self.search(&rest, budget)).map(|x| x.div_euclid(scale)));
        }
        // The atom at the end of its interval, the rest by facts.
        if form.terms.len() > 1 {
            let (low, high) = self.atoms[atom];
            let end = if c > 0 { high } else { low };
            let rest = c.checked_mul(end).and_then(|x| form.plus(&Form::atom(atom), -c)?.offset(x));
            improve(rest.and_then(|rest| self.search(&rest, budget)));
        }
        best
    }

    /// `a / divisor`, for `a >= 0` and `divisor >= 1`, which the caller proved.
    pub fn quotient(&mut self, a: &Form, divisor: i128) -> Form {
        if divisor == 1 {
            return a.clone();
        }
        let (low, high) = self.within(a, 0, i128::from(u32::MAX));
        let (low, high) = (low / divisor, high / divisor);
        // One that was made where less was known stays as good unless the interval is tighter here.
        if let Some(q) = self.quotients.get(&(a.clone(), divisor)).and_then(|known| known.last())
            && q.newest().is_some_and(|(atom, _)| self.atoms[atom].0 >= low && self.atoms[atom].1 <= high)
        {
            return q.clone();
        }
        let q = self.unknown(low, high);
        // A constant may hold only in this scope; it must teach nothing about older atoms.
        if q.as_constant().is_some() {
            return q;
        }
        if let (Some(under), Some(over)) = (q.times(divisor).and_then(|f| f.plus(a, -1)), a.plus(&q, -divisor).and_then(|f| f.offset(1 - divisor))) {
            self.learn(&under);
            self.learn(&over);
        }
        self.quotients.entry((a.clone(), divisor)).or_default().push(q.clone());
        q
    }

    /// The smaller of two numbers.
    pub fn min(&mut self, a: &Form, b: &Form, low: i128, high: i128) -> Form {
        let ((al, ah), (bl, bh)) = (self.within(a, low, high), self.within(b, low, high));
        if ah <= bl {
            return a.clone();
        }
        if bh <= al {
            return b.clone();
        }
        let m = self.unknown(al.min(bl), ah.min(bh));
        // As for quotients: only a new atom may be spoken of.
        for x in [a, b].into_iter().filter(|_| m.as_constant().is_none()) {
            if let Some(f) = m.plus(x, -1) {
                self.learn(&f);
            }
        }
        m
    }

    /// The greater of two numbers.
    pub fn max(&mut self, a: &Form, b: &Form, low: i128, high: i128) -> Form {
        match (a.times(-1), b.times(-1)) {
            (Some(a), Some(b)) => {
                let m = self.min(&a, &b, -high, -low);
                m.times(-1).unwrap_or(m)
            }
            _ => self.unknown(low, high),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_carries_to_multiples_of_the_guarded_sum() {
        let mut f = Facts::default();
        let t = f.unknown(1, 100);
        let x = f.unknown(0, 31);
        let i = f.unknown(0, 3);
        let token = x.times(4).and_then(|a| a.plus(&i, 1)).expect("small");
        let at = token.times(96).and_then(|a| a.offset(95)).expect("small");
        assert_eq!(f.most(&at), Some(127 * 96 + 95));
        let scope = f.enter();
        f.assume(&token.plus(&t, -1).and_then(|a| a.offset(1)).expect("small"));
        assert_eq!(f.most(&at), Some(99 * 96 + 95));
        f.leave(scope);
        assert_eq!(f.most(&at), Some(127 * 96 + 95));
    }

    #[test]
    fn quotient_and_remainder_make_the_whole_again() {
        let mut f = Facts::default();
        let a = f.unknown(0, 1000);
        let q = f.quotient(&a, 16);
        let r = a.plus(&q, -16).expect("small");
        assert_eq!((f.least(&r), f.most(&r)), (Some(0), Some(15)));
        assert_eq!(f.most(&q), Some(62));
        assert_eq!(r.plus(&q, 16), Some(a.clone()));
        assert_eq!(f.quotient(&a, 16), q);
    }

    #[test]
    fn a_quotient_is_tighter_where_its_dividend_is() {
        let mut f = Facts::default();
        let a = f.unknown(0, 127);
        let wide = f.quotient(&a, 16);
        let scope = f.enter();
        f.assume(&a.offset(-40).expect("small"));
        let tight = f.quotient(&a, 16);
        assert_eq!(f.most(&tight.times(112).expect("small")), Some(224));
        assert_eq!(f.quotient(&a, 16), tight);
        f.leave(scope);
        assert_eq!(f.quotient(&a, 16), wide);
    }

    #[test]
    fn facts_are_used_when_coefficients_do_not_divide() {
        let mut f = Facts::default();
        let n = f.unknown(0, 10);
        let i = f.unknown(0, 1000);
        f.learn(&i.times(3).and_then(|a| a.plus(&n, -2)).expect("small"));
        assert_eq!(f.most(&i.times(2).expect("small")), Some(13));
    }

    #[test]
    fn least_and_greatest_of_two() {
        let mut f = Facts::default();
        let (a, b) = (f.unknown(0, 10), f.unknown(5, 20));
        let (m, n) = (f.min(&a, &b, 0, 100), f.max(&a, &b, 0, 100));
        assert_eq!((f.least(&m), f.most(&m)), (Some(0), Some(10)));
        assert_eq!((f.least(&n), f.most(&n)), (Some(5), Some(20)));
        assert!(f.at_least(&a.plus(&m, -1).expect("small"), 0));
        assert!(f.at_most(&b.plus(&n, -1).expect("small"), 0));
    }
}

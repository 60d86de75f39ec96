//! Stage patterns as tables of rows over character classes.
//!
//! Every class of code points in a pattern is replaced by the set of its partition's classes, written as bytes; `regex-automata` makes the
//! leftmost-first automaton over these bytes, and its reachable part is renumbered and written out. Leftmost-first means that the
//! preference order of a backtracking engine is kept exactly.

use std::collections::BTreeMap;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::{primitives::StateID, start};
use regex_automata::{Anchored, MatchKind};
use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, HirKind};
use slmc_runtime_stub::tokenizer::format::{DEAD, row};

use super::classes::{Classes, PointSet, PointSets};
use super::pattern::StagePattern;

/// Bytes that an automaton may take while it is made: a few thousand rows. Those of published patterns have below a hundred; making one
/// small takes time that grows with the square of its rows, and there are short patterns with billions.
const LARGEST: usize = 1 << 20;

/// A stage whose sets are interned.
pub(super) struct Stage {
    /// Expressions over set numbers, by preference, and what their matches are.
    patterns: Vec<(Expression, u8)>,
    /// It must match at every character.
    whole: bool,
}

/// An expression whose atoms are interned sets.
enum Expression {
    Set(usize),
    Repeat(u32, Option<u32>, bool, Box<Expression>),
    Concat(Vec<Expression>),
    Either(Vec<Expression>),
}

/// The tables of one stage.
pub(super) struct StageTable {
    /// Row in which a search begins.
    pub start: u32,
    /// Next row or [`DEAD`], `[rows, classes + 1]`.
    pub transitions: Vec<u16>,
    /// Values of [`row`], `[rows]`.
    pub matches: Vec<u8>,
}

impl Stage {
    /// Interns the sets of a pattern.
    pub fn new(pattern: &StagePattern, sets: &mut PointSets) -> Stage {
        let spaces = |sets: &mut PointSets| {
            let hir = regex_syntax::parse(r"\s+").expect("invariant: the expression is sound");
            (expression(&hir, sets), row::SPACES)
        };
        let patterns = match pattern {
            StagePattern::Regex { head, spaces: tail, .. } => {
                let mut patterns: Vec<_> = head.iter().map(|hir| (expression(hir, sets), row::MATCH)).collect();
                patterns.extend(tail.then(|| spaces(sets)));
                patterns
            }
            StagePattern::Digits { individual } => {
                let digit = Expression::Set(sets.intern_numeric());
                let digits = if *individual { digit } else { Expression::Repeat(1, None, true, Box::new(digit)) };
                vec![(digits, row::MATCH)]
            }
        };
        Stage { patterns, whole: matches!(pattern, StagePattern::Regex { whole: true, .. }) }
    }

    /// Builds the tables over the partition; the error says why not.
    pub fn table(&self, classes: &Classes) -> Result<StageTable, String> {
        let hirs: Vec<Hir> = self.patterns.iter().map(|(expression, _)| expression.over(classes)).collect();
        let nfa = thompson::Compiler::new()
            .configure(thompson::Config::new().utf8(false).nfa_size_limit(Some(LARGEST)))
            .build_many_from_hir(&hirs)
            .map_err(|error| error.to_string())?;
        let config = dense::Config::new().start_kind(StartKind::Anchored).match_kind(MatchKind::LeftmostFirst).minimize(true);
        let config = config.determinize_size_limit(Some(16 * LARGEST)).dfa_size_limit(Some(LARGEST));
        let dfa = dense::Builder::new().configure(config).build_from_nfa(&nfa).map_err(|error| error.to_string())?;
        let first = dfa.start_state(&start::Config::new().anchored(Anchored::Yes)).map_err(|error| error.to_string())?;
        let table = self.tabulate(&dfa, first, classes.count())?;
        if self.whole && !table.matches_every_character(classes) {
            return Err("its Split removes what lies between the matches, and there is text that it does not match".to_owned());
        }
        Ok(table)
    }

    /// Numbers the states reachable from `first` in order of discovery and writes their rows.
    fn tabulate(&self, dfa: &impl Automaton, first: StateID, classes: usize) -> Result<StageTable, String> {
        let mut numbers = BTreeMap::from([(first, 0u16)]);
        let mut states = vec![first];
        let mut table = StageTable { start: 0, transitions: Vec::new(), matches: Vec::new() };
        let mut at = 0;
        while let Some(&state) = states.get(at) {
            at += 1;
            let matched = dfa.is_match_state(state).then(|| dfa.match_pattern(state, 0).as_usize());
            table.matches.push(matched.map_or(row::NONE, |pattern| self.patterns[pattern].1));
            for column in 0..=classes {
                let next = match u8::try_from(column) {
                    Ok(class) if column < classes => dfa.next_state(state, class),
                    _ => dfa.next_eoi_state(state),
                };
                let number = if dfa.is_dead_state(next) {
                    DEAD
                } else if let Some(&number) = numbers.get(&next) {
                    number
                } else {
                    let number = u16::try_from(states.len()).ok().filter(|&n| n < DEAD).ok_or("its automaton has more than 65534 states")?;
                    numbers.insert(next, number);
                    states.push(next);
                    number
                };
                table.transitions.push(number);
            }
        }
        Ok(table)
    }
}

impl StageTable {
    /// True when there is a match at every place of every text: every single character is one.
    fn matches_every_character(&self, classes: &Classes) -> bool {
        let columns = classes.count() + 1;
        let next = |row: u16, column: usize| self.transitions.get(usize::from(row) * columns + column).copied().filter(|&row| row != DEAD);
        let matched = |row: u16| self.matches.get(usize::from(row)).is_some_and(|&m| m != row::NONE);
        classes.of_characters().all(|class| {
            let behind = next(self.start as u16, usize::from(class));
            behind.is_some_and(|behind| (0..columns).all(|column| next(behind, column).is_some_and(matched)))
        })
    }
}

fn expression(hir: &Hir, sets: &mut PointSets) -> Expression {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Expression::Concat(Vec::new()),
        HirKind::Literal(literal) => {
            let text = String::from_utf8_lossy(&literal.0);
            Expression::Concat(text.chars().map(|c| Expression::Set(sets.intern(vec![(c.into(), c.into())]))).collect())
        }
        HirKind::Class(class) => Expression::Set(sets.intern(points(class))),
        HirKind::Repetition(r) => Expression::Repeat(r.min, r.max, r.greedy, Box::new(expression(&r.sub, sets))),
        HirKind::Capture(capture) => expression(&capture.sub, sets),
        HirKind::Concat(parts) => Expression::Concat(parts.iter().map(|part| expression(part, sets)).collect()),
        HirKind::Alternation(parts) => Expression::Either(parts.iter().map(|part| expression(part, sets)).collect()),
    }
}

fn points(class: &Class) -> PointSet {
    match class {
        Class::Unicode(class) => class.iter().map(|r| (r.start().into(), r.end().into())).collect(),
        Class::Bytes(class) => class.iter().map(|r| (r.start().into(), r.end().into())).collect(),
    }
}

impl Expression {
    /// The same expression over class numbers as bytes.
    fn over(&self, classes: &Classes) -> Hir {
        match self {
            Expression::Set(set) => Hir::class(Class::Bytes(ClassBytes::new(classes.of(*set).map(|c| ClassBytesRange::new(c, c))))),
            Expression::Repeat(min, max, greedy, sub) => {
                let sub = Box::new(sub.over(classes));
                Hir::repetition(regex_syntax::hir::Repetition { min: *min, max: *max, greedy: *greedy, sub })
            }
            Expression::Concat(parts) => Hir::concat(parts.iter().map(|part| part.over(classes)).collect()),
            Expression::Either(parts) => Hir::alternation(parts.iter().map(|part| part.over(classes)).collect()),
        }
    }
}

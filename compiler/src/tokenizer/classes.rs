//! One partition of Unicode for all stages: code points that no pattern and no flag tells apart are one class.
//!
//! Automata over classes instead of bytes stay small (tens of rows, tens of columns), and `\p{L}` and its like exist once, in a two-stage
//! table of 256-point blocks.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use slmc_runtime_stub::tokenizer::format::{CLASS_BLOCKS, class_flag};
use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, is_nfc_quick};

/// A set of code points: ascending ranges, both ends included.
pub(super) type PointSet = Vec<(u32, u32)>;

/// The partition.
pub(super) struct Classes {
    /// Of each class, a bit per interned set.
    signatures: Vec<Vec<bool>>,
    /// Ascending `(first code point, class)`.
    runs: Vec<(u32, u8)>,
}

/// The sets that shall be told apart, each once.
#[derive(Default)]
pub(super) struct PointSets {
    sets: Vec<PointSet>,
}

impl PointSets {
    /// The number of a set.
    pub fn intern(&mut self, set: PointSet) -> usize {
        self.sets.iter().position(|s| *s == set).unwrap_or_else(|| {
            self.sets.push(set);
            self.sets.len() - 1
        })
    }

    /// The set of all numeric characters.
    pub fn intern_numeric(&mut self) -> usize {
        static NUMERIC: LazyLock<PointSet> = LazyLock::new(|| set_where(char::is_numeric));
        self.intern(NUMERIC.clone())
    }

    /// The partition that tells all sets apart; `None` when it has more than 255 classes.
    pub fn partition(self) -> Option<Classes> {
        let mut bounds: Vec<u32> = self.sets.iter().flatten().flat_map(|&(first, last)| [first, last + 1]).collect();
        bounds.push(0);
        bounds.sort_unstable();
        bounds.dedup();
        bounds.retain(|&b| b < 0x11_0000);
        let contains = |set: &PointSet, point: u32| {
            let after = set.partition_point(|&(first, _)| first <= point);
            after > 0 && set[after - 1].1 >= point
        };
        let mut known = BTreeMap::new();
        let mut signatures = Vec::new();
        let mut runs = Vec::new();
        for bound in bounds {
            let signature: Vec<bool> = self.sets.iter().map(|set| contains(set, bound)).collect();
            let class = *known.entry(signature.clone()).or_insert_with(|| {
                signatures.push(signature);
                signatures.len() - 1
            });
            runs.push((bound, u8::try_from(class).ok().filter(|&c| c < u8::MAX)?));
        }
        Some(Classes { signatures, runs })
    }
}

/// The set of all characters for which `member` holds.
fn set_where(member: impl Fn(char) -> bool) -> PointSet {
    let mut set = PointSet::new();
    for c in ('\0'..=char::MAX).filter(|&c| member(c)) {
        match set.last_mut() {
            Some(last) if last.1 + 1 == u32::from(c) => last.1 += 1,
            _ => set.push((c.into(), c.into())),
        }
    }
    set
}

impl Classes {
    /// Number of classes.
    pub fn count(&self) -> usize {
        self.signatures.len()
    }

    /// The classes that make up interned set `set`.
    pub fn of(&self, set: usize) -> impl Iterator<Item = u8> {
        (0u8..).zip(&self.signatures).filter(move |(_, signature)| signature[set]).map(|(class, _)| class)
    }

    /// The classes that hold a character, surrogates being none.
    pub fn of_characters(&self) -> impl Iterator<Item = u8> {
        let end = |i: usize| self.runs.get(i + 1).map_or(0x11_0000, |next| next.0);
        let held = move |i: usize| self.runs[i].0 < 0xd800 || end(i) > 0xe000;
        let mut classes: Vec<u8> = (0..self.runs.len()).filter(|&i| held(i)).map(|i| self.runs[i].1).collect();
        classes.sort_unstable();
        classes.dedup();
        classes.into_iter()
    }

    /// Index and blocks of the two-stage table.
    pub fn tables(&self) -> (Vec<u16>, Vec<u8>) {
        let mut points = vec![0u8; CLASS_BLOCKS * 256];
        for (i, &(first, class)) in self.runs.iter().enumerate() {
            let end = self.runs.get(i + 1).map_or(points.len(), |next| next.0 as usize);
            points[first as usize..end].fill(class);
        }
        let (mut index, mut blocks) = (Vec::new(), Vec::new());
        let mut known = BTreeMap::new();
        for block in points.chunks(256) {
            let next = u16::try_from(blocks.len() / 256).expect("invariant: at most 4352 blocks");
            let number = *known.entry(block).or_insert(next);
            if number == next {
                blocks.extend_from_slice(block);
            }
            index.push(number);
        }
        (index, blocks)
    }
}

/// The flags that the runtime reads besides the patterns.
pub(super) struct FlagSets {
    sets: [(usize, u8); 4],
}

impl FlagSets {
    /// Interns `\s`, `\w`, the characters that NFC may touch and those that a template's strip removes.
    pub fn intern(sets: &mut PointSets) -> FlagSets {
        // A walk over all characters takes longer than the rest of a small tokenizer.
        static SETS: LazyLock<[(PointSet, u8); 4]> = LazyLock::new(|| {
            let touched = |c: char| canonical_combining_class(c) != 0 || is_nfc_quick(std::iter::once(c)) != IsNormalized::Yes;
            let trimmed = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
            [
                (perl(r"\s"), class_flag::SPACE),
                (perl(r"\w"), class_flag::WORD),
                (set_where(touched), class_flag::NFC),
                (set_where(trimmed), class_flag::TRIMMED),
            ]
        });
        FlagSets { sets: SETS.each_ref().map(|(set, flag)| (sets.intern(set.clone()), *flag)) }
    }

    /// The flags of each class.
    pub fn table(&self, classes: &Classes) -> Vec<u8> {
        let mut flags = vec![0; classes.count()];
        for &(set, flag) in &self.sets {
            classes.of(set).for_each(|class| flags[usize::from(class)] |= flag);
        }
        flags
    }
}

/// The set of a Perl class.
fn perl(pattern: &str) -> PointSet {
    match regex_syntax::parse(pattern).map(regex_syntax::hir::Hir::into_kind) {
        Ok(regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(class))) => {
            class.iter().map(|r| (r.start().into(), r.end().into())).collect()
        }
        _ => unreachable!("invariant: a Perl class is a Unicode class"),
    }
}

//! Finds the smallest set of features under which the text of a gap is a function of its key, and proves the table.

use std::collections::BTreeMap;

use slmc_runtime_stub::tokenizer::format::gap;

use super::environment::{Template, Turn};
use super::probe::{Piece, Probe, ROLES, names};

/// The prompt table.
pub(super) struct Table {
    /// Bits of [`gap`] that the keys use.
    pub features: u32,
    /// Key to number of piece.
    pub keys: BTreeMap<u32, usize>,
    /// The distinct pieces.
    pub pieces: Vec<Piece>,
    /// Where the template does what the table does not.
    pub notes: Vec<String>,
}

/// Contents of the proof that every template must pass on unchanged, white space at the ends apart.
const PLAIN: [&str; 4] = [" a\n\n b ", "{{ messages }} {% if x %} {# y #}", "<b>&amp; \"quoted\" 'single' \\n \u{e9}\u{1f600}", "\tx"];
/// Contents that some templates treat specially, which costs a note.
const SPECIAL: [(&str, &str); 2] = [("", "an empty content"), ("a</think>b", "a content with '</think>'")];

/// Fits and proves a table; the error says which conversations do not fit.
pub(super) fn fit(template: &Template, probes: &[Probe]) -> Result<Table, String> {
    let question = probes.iter().find(|p| p.roles == [1] && p.generate);
    if let Some(Err(refusal)) = question.map(|p| &p.gaps) {
        return Err(format!("a single user message does not render: {}", refusal.reason));
    }
    let mut subsets: Vec<u32> = (0..=gap::ALL).collect();
    subsets.sort_by_key(|features| (features.count_ones(), *features));
    let mut failure = String::new();
    for domain in DOMAINS {
        for &features in &subsets {
            match keyed(probes, features, domain) {
                Ok(keys) => {
                    let mut table = number(features, keys);
                    prove(template, probes, domain, &mut table)?;
                    table.notes.extend(domain.name.map(|name| format!("only chats {name} are supported")));
                    table.notes.extend(unfit_note(probes, domain));
                    return Ok(table);
                }
                Err(reason) if failure.is_empty() && features == gap::ALL => failure = reason,
                Err(_) => {}
            }
        }
    }
    Err(failure)
}

/// The conversations that a table must know; all others it must refuse.
#[derive(Clone, Copy)]
struct Domain {
    /// For notes; `None` when it is everything.
    name: Option<&'static str>,
    contains: fn(&[usize]) -> bool,
}

/// From all conversations to those that every template is made for.
const DOMAINS: [Domain; 3] = [
    Domain { name: None, contains: |_| true },
    Domain { name: Some("whose only system message is the first"), contains: |roles| roles.iter().skip(1).all(|&role| role != 0) },
    Domain {
        name: Some("in which user and assistant take turns, after at most one system message"),
        contains: |roles| {
            let turns = roles.strip_prefix(&[0]).unwrap_or(roles);
            turns.iter().enumerate().all(|(i, &role)| role == 1 + i % 2)
        },
    },
];

impl Domain {
    /// The gaps that the table must reproduce.
    fn gaps<'p>(&self, probe: &'p Probe) -> Option<&'p [Piece]> {
        probe.gaps.as_deref().ok().filter(|_| (self.contains)(&probe.roles))
    }
}

/// Says which conversations the template renders and the table refuses.
fn unfit_note(probes: &[Probe], domain: Domain) -> Option<String> {
    let inside = probes.iter().filter(|p| (domain.contains)(&p.roles));
    let mut unfit = inside.filter_map(|p| p.gaps.as_ref().err()).filter(|refusal| !refusal.raised);
    let first = unfit.next()?;
    let more = unfit.count();
    Some(format!("chats that the template does not render piece by piece are refused: {} ({more} more of the probed ones)", first.reason))
}

fn key(probe: &Probe, features: u32, at: usize) -> u32 {
    gap::key(features, probe.roles.len(), at, probe.generate, |i| probe.roles[i] as u32)
}

/// The piece of each key, if there is one, and if every refused conversation lacks a key.
fn keyed(probes: &[Probe], features: u32, domain: Domain) -> Result<BTreeMap<u32, &Piece>, String> {
    let mut keys = BTreeMap::new();
    for probe in probes {
        for (at, piece) in domain.gaps(probe).into_iter().flatten().enumerate() {
            let known = keys.entry(key(probe, features, at)).or_insert(piece);
            if *known != piece {
                let place = if at == probe.roles.len() { "after the last message".to_owned() } else { format!("before message {at}") };
                return Err(format!("the text {place} of {} depends on more than its neighbours", names(&probe.roles)));
            }
        }
    }
    for probe in probes.iter().filter(|p| domain.gaps(p).is_none()) {
        if (0..=probe.roles.len()).all(|at| keys.contains_key(&key(probe, features, at))) {
            let reason = probe.gaps.as_ref().err().map_or("it is no usual chat", |refusal| &refusal.reason);
            return Err(format!("{} is refused for a reason that neighbours do not show: {reason}", names(&probe.roles)));
        }
    }
    Ok(keys)
}

fn number(features: u32, keys: BTreeMap<u32, &Piece>) -> Table {
    let mut pieces: Vec<Piece> = keys.values().map(|&piece| piece.clone()).collect();
    pieces.sort();
    pieces.dedup();
    let place = |piece: &Piece| pieces.binary_search(piece).expect("invariant: every piece is listed");
    let keys = keys.into_iter().map(|(key, piece)| (key, place(piece))).collect();
    Table { features, keys, pieces, notes: Vec::new() }
}

/// Renders every accepted conversation again with other contents and compares with the table.
fn prove(template: &Template, probes: &[Probe], domain: Domain, table: &mut Table) -> Result<(), String> {
    let mut notes = BTreeMap::new();
    for (number, probe) in probes.iter().enumerate().filter(|(_, p)| domain.gaps(p).is_some()) {
        let contents = (0..probe.roles.len()).map(|i| PLAIN[(number + i) % PLAIN.len()]).collect();
        if !agrees(template, probe, table, contents) {
            return Err(format!("a content of {} is changed by the template", names(&probe.roles)));
        }
        for (content, what) in SPECIAL {
            for special in 0..probe.roles.len() {
                let contents = (0..probe.roles.len()).map(|i| if i == special { content } else { "x" }).collect();
                if !notes.contains_key(&(what, probe.roles[special])) && !agrees(template, probe, table, contents) {
                    notes.insert((what, probe.roles[special]), ());
                }
            }
        }
    }
    let note = |&(what, role): &(&str, usize)| format!("the template treats {what} of role {} specially; the bundle does not", ROLES[role]);
    table.notes = notes.keys().map(note).collect();
    Ok(())
}

fn agrees(template: &Template, probe: &Probe, table: &Table, contents: Vec<&str>) -> bool {
    let turns: Vec<Turn<'_>> = probe.roles.iter().zip(&contents).map(|(&role, &content)| (ROLES[role], content)).collect();
    let Ok(rendered) = template.render(&turns, probe.generate) else { return false };
    let piece = |at: usize| table.keys.get(&key(probe, table.features, at)).map(|&i| &table.pieces[i]);
    let mut expected = String::new();
    for at in 0..=probe.roles.len() {
        let Some(before) = piece(at) else { return false };
        expected += &before.literal;
        let Some(&content) = contents.get(at) else { continue };
        let content = if before.trims_after { content.trim_start() } else { content };
        let trims = piece(at + 1).is_some_and(|after| after.trims_before);
        expected += if trims { content.trim_end() } else { content };
    }
    rendered == expected
}

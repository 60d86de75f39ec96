//! Renders the template over all role sequences of up to six messages and cuts the results at the contents.
//!
//! Contents are marks that no template contains, with white space around them that no template writes: what is left of it tells whether the
//! template trims.

use super::environment::{Template, Turn};

/// Role names by their runtime codes.
pub(super) const ROLES: [&str; 3] = ["system", "user", "assistant"];

/// Most messages of a probed conversation.
pub(super) const MOST_MESSAGES: usize = 6;

/// White space before and after each mark. Its outer characters are line ends, so that a template that strips only those shows; they are
/// more than any template writes, and the inner one is in no template, so that padding is not taken for literal text.
const PAD_BEFORE: &str = "\n\n\n\n\n \u{2003}";
const PAD_AFTER: &str = "\u{2003} \n\n\n\n\n";

/// The text of a gap between messages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Piece {
    /// What the template writes.
    pub literal: String,
    /// The content before loses white space at its end.
    pub trims_before: bool,
    /// The content after loses white space at its start.
    pub trims_after: bool,
}

/// One rendered conversation.
pub(super) struct Probe {
    /// Role codes of the messages.
    pub roles: Vec<usize>,
    /// Asked for the head of an answer.
    pub generate: bool,
    /// The `roles.len() + 1` gaps, or why there are none.
    pub gaps: Result<Vec<Piece>, Refusal>,
}

/// Why a conversation is not in the table.
pub(super) struct Refusal {
    /// What is wrong with it.
    pub reason: String,
    /// The template itself refuses it; otherwise it renders to something that no table can say.
    pub raised: bool,
}

impl Refusal {
    fn unfit(reason: String) -> Refusal {
        Refusal { reason, raised: false }
    }
}

/// All probes, shortest conversations first.
pub(super) fn probe(template: &Template) -> Vec<Probe> {
    let mut probes = Vec::new();
    for count in 1..=MOST_MESSAGES {
        for number in 0..ROLES.len().pow(count as u32) {
            let roles: Vec<usize> = (0..count).map(|i| number / ROLES.len().pow(i as u32) % ROLES.len()).collect();
            for generate in [false, true] {
                let gaps = gaps(template, &roles, generate);
                probes.push(Probe { roles: roles.clone(), generate, gaps });
            }
        }
    }
    probes
}

/// Names of a role sequence, for messages.
pub(super) fn names(roles: &[usize]) -> String {
    roles.iter().map(|&role| ROLES[role]).collect::<Vec<_>>().join(", ")
}

fn mark(i: usize) -> String {
    format!("\u{e000}{i}\u{e001}")
}

fn gaps(template: &Template, roles: &[usize], generate: bool) -> Result<Vec<Piece>, Refusal> {
    let contents: Vec<String> = (0..roles.len()).map(|i| format!("{PAD_BEFORE}{}{PAD_AFTER}", mark(i))).collect();
    let turns: Vec<Turn<'_>> = roles.iter().zip(&contents).map(|(&role, content)| (ROLES[role], content.as_str())).collect();
    let text = template.render(&turns, generate).map_err(|reason| Refusal { reason, raised: true })?;
    let mut rest = text.as_str();
    let mut gaps = Vec::new();
    for i in 0..roles.len() {
        let (before, after) = rest.split_once(&mark(i)).ok_or_else(|| {
            let seen = text.contains(&mark(i));
            Refusal::unfit(format!("the content of message {i} of {} is {}", names(roles), if seen { "not in its place" } else { "left out" }))
        })?;
        gaps.push(before);
        rest = after;
    }
    gaps.push(rest);
    let last = gaps.len() - 1;
    gaps.into_iter().enumerate().map(|(i, gap)| piece(gap, i > 0, i < last, roles)).collect()
}

/// Tells a gap's literal text from what is left of the padding of its neighbours.
fn piece(gap: &str, before: bool, after: bool, roles: &[usize]) -> Result<Piece, Refusal> {
    let kept_before = gap.strip_prefix(PAD_AFTER).filter(|_| before);
    let gap = kept_before.unwrap_or(gap);
    let kept_after = gap.strip_suffix(PAD_BEFORE).filter(|_| after);
    let literal = kept_after.unwrap_or(gap);
    if literal.contains(['\u{2003}', '\u{e000}', '\u{e001}']) {
        return Err(Refusal::unfit(format!("a content of {} is changed or repeated", names(roles))));
    }
    Ok(Piece { literal: literal.to_owned(), trims_before: before && kept_before.is_none(), trims_after: after && kept_after.is_none() })
}

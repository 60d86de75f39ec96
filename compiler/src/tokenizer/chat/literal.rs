//! Literal pieces as ops: special tokens by id, the text between them as it is.

use slmc_runtime_stub::tokenizer::format::{Section, added_flag, op, trim};

use super::fit::Table;
use crate::tokenizer::added::{self, AddedToken};
use crate::tokenizer::sections::Sections;

/// A part of a literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    /// Text that becomes part of a run.
    Text(String),
    /// A special token and its flags.
    Special(u32, u32),
}

/// Cuts a literal at its special tokens. Added tokens that are not special stay text: the runtime finds them there as in any text.
pub(super) fn ops(literal: &str, tokens: &[AddedToken]) -> Result<Vec<Op>, String> {
    if let Some(token) = added::changed_in(tokens, literal) {
        let why = "a special token that matches normalized text only, as marked by its flag `normalized`";
        return Err(format!("the template writes {:?}, {why}", token.content));
    }
    let mut ops = Vec::new();
    let mut text = String::new();
    let mut rest = literal;
    while let Some(c) = rest.chars().next() {
        let found = added::longest_at(tokens, rest);
        if let Some(token) = found.filter(|t| t.special) {
            if token.flags() & added_flag::SINGLE_WORD != 0 {
                return Err(format!("the template writes {:?}, a special token that matches single words only", token.content));
            }
            if !text.is_empty() {
                ops.push(Op::Text(std::mem::take(&mut text)));
            }
            ops.push(Op::Special(token.id, token.flags()));
        }
        let (taken, after) = rest.split_at(found.map_or(c.len_utf8(), |t| t.content.len()));
        if !found.is_some_and(|t| t.special) {
            text += taken;
        }
        rest = after;
    }
    if !text.is_empty() {
        ops.push(Op::Text(text));
    }
    Ok(ops)
}

/// Fills the prompt sections.
pub(super) fn write(table: &Table, ops: &[Vec<Op>], sections: &mut Sections) {
    let (mut pieces, mut words, mut text) = (Vec::new(), Vec::new(), String::new());
    for (piece, ops) in table.pieces.iter().zip(ops) {
        let bit = |on: bool, flag: u32| if on { flag } else { 0 };
        let trims = bit(piece.trims_before, trim::BEFORE) | bit(piece.trims_after, trim::AFTER);
        pieces.extend([words.len() as u32 / 3, ops.len() as u32, trims]);
        for op in ops {
            match op {
                Op::Text(part) => {
                    words.extend([op::TEXT, text.len() as u32, part.len() as u32]);
                    text += part;
                }
                Op::Special(id, flags) => words.extend([op::SPECIAL, *id, *flags]),
            }
        }
    }
    sections.words(Section::ChatKeys, table.keys.iter().flat_map(|(&key, &piece)| [key, piece as u32]));
    sections.words(Section::ChatPieces, pieces);
    sections.words(Section::ChatOps, words);
    sections.bytes(Section::ChatText, text.into_bytes());
}

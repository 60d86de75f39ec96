//! Attributes of ops as text, both ways: `{eps = 0x1.4f8b58p-17, heads = 1}`.
//!
//! The names are those of [`OPS`](super::op::OPS). They are printed in its order and read in any; optional ones (`window`,
//! `softcap` of `attention`, `unit_offset` of `rms_norm`) are left out when they are off.

use super::op::{AttentionAttrs, KvAppendAttrs, KvPart, NormAttrs, Op, RopeAttrs, RopeScaling};
use crate::diag::{ParseError, ParseErrorKind, Span};
use crate::text::{Cursor, HexFloat, TokenKind};
use std::fmt;

/// Writes ` {name = value, …}`, or nothing for an op without attributes.
pub(super) fn write_attrs(f: &mut fmt::Formatter<'_>, op: &Op) -> fmt::Result {
    let entry = |value: &dyn fmt::Display| value.to_string();
    let values: Vec<Option<String>> = match op {
        Op::Embed | Op::Linear | Op::Silu | Op::GeluTanh | Op::Mul | Op::Add | Op::QuantizeAct => return Ok(()),
        Op::RmsNorm(a) => vec![Some(entry(&HexFloat(a.eps))), Some(entry(&a.heads)), a.unit_offset.then(|| entry(&"yes"))],
        Op::LayerNorm { eps } => vec![Some(entry(&HexFloat(*eps)))],
        Op::Rope(a) => vec![
            Some(entry(&a.heads)),
            Some(entry(&a.head_dim)),
            Some(entry(&a.rotary_dim)),
            Some(entry(&HexFloat(a.theta))),
            Some(entry(&a.scaling)),
        ],
        Op::KvAppend(a) => vec![Some(entry(&a.slot)), Some(entry(&a.part))],
        Op::Attention(a) => vec![
            Some(entry(&a.heads)),
            Some(entry(&a.kv_heads)),
            Some(entry(&a.head_dim)),
            Some(entry(&HexFloat(a.scale))),
            a.window.map(|w| entry(&w)),
            a.softcap.map(|c| entry(&HexFloat(c))),
        ],
        Op::Scale { factor } => vec![Some(entry(&HexFloat(*factor)))],
        Op::Softcap { cap } => vec![Some(entry(&HexFloat(*cap)))],
    };
    let mut separator = " {";
    for (name, value) in op.info().attrs.iter().zip(values) {
        if let Some(value) = value {
            write!(f, "{separator}{name} = {value}")?;
            separator = ", ";
        }
    }
    f.write_str("}")
}

impl fmt::Display for KvPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KvPart::K => "k",
            KvPart::V => "v",
        })
    }
}

impl fmt::Display for RopeScaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            RopeScaling::Default => f.write_str("default"),
            RopeScaling::PerPair { magnitude, ref divisors } => {
                write!(f, "per_pair(magnitude = {}, divisors = [", HexFloat(magnitude))?;
                for (i, &divisor) in divisors.iter().enumerate() {
                    write!(f, "{}{}", if i > 0 { ", " } else { "" }, HexFloat(divisor))?;
                }
                f.write_str("])")
            }
            RopeScaling::Linear { factor } => write!(f, "linear(factor = {})", HexFloat(factor)),
            RopeScaling::Llama3 { factor, low, high, original } => {
                let (factor, low, high) = (HexFloat(factor), HexFloat(low), HexFloat(high));
                write!(f, "llama3(factor = {factor}, low = {low}, high = {high}, original = {original})")
            }
        }
    }
}

/// The attributes in braces ahead of a cursor, read by name. A list that is absent is empty.
pub(super) struct Attrs<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    owner: String,
    place: Span,
    entries: Vec<Entry<'a>>,
    end: usize,
}

struct Entry<'a> {
    key: &'a str,
    span: Span,
    value: usize,
    end: usize,
    used: bool,
}

impl<'c, 'a> Attrs<'c, 'a> {
    /// Finds the attributes of `owner`, which stands at `place`, and leaves their values unread.
    pub(super) fn find(cursor: &'c mut Cursor<'a>, owner: &str, place: Span) -> Result<Self, ParseError> {
        let mut entries: Vec<Entry<'a>> = Vec::new();
        if cursor.eat("{") && !cursor.eat("}") {
            loop {
                let span = cursor.span();
                let key = cursor.ident("the name of an attribute")?;
                if entries.iter().any(|e| e.key == key) {
                    return Err(cursor.error_at(span, ParseErrorKind::Duplicate(format!("attribute `{key}`"))));
                }
                cursor.expect("=")?;
                let value = cursor.position();
                skip_value(cursor)?;
                entries.push(Entry { key, span, value, end: cursor.position(), used: false });
                if cursor.eat("}") {
                    break;
                }
                cursor.expect(",").map_err(|_| cursor.unexpected("`,` or `}` after an attribute"))?;
            }
        }
        let end = cursor.position();
        Ok(Self { cursor, owner: owner.to_string(), place, entries, end })
    }

    /// Reads an attribute that may be absent.
    pub(super) fn optional<T>(&mut self, key: &str, read: impl FnOnce(&mut Cursor<'a>) -> Result<T, ParseError>) -> Result<Option<T>, ParseError> {
        let Some(entry) = self.entries.iter_mut().find(|e| e.key == key) else {
            return Ok(None);
        };
        entry.used = true;
        self.cursor.seek(entry.value);
        let value = read(self.cursor)?;
        if self.cursor.position() != entry.end {
            return Err(self.cursor.unexpected("`,` or `}` after an attribute"));
        }
        Ok(Some(value))
    }

    /// Reads an attribute that must be there.
    pub(super) fn required<T>(&mut self, key: &str, read: impl FnOnce(&mut Cursor<'a>) -> Result<T, ParseError>) -> Result<T, ParseError> {
        match self.optional(key, read)? {
            Some(value) => Ok(value),
            None => Err(self.cursor.error_at(self.place, ParseErrorKind::Other(format!("{} lacks attribute `{key}`", self.owner)))),
        }
    }

    /// Ends the list: an attribute that nobody read is an error.
    pub(super) fn finish(self) -> Result<(), ParseError> {
        if let Some(e) = self.entries.iter().find(|e| !e.used) {
            return Err(self.cursor.error_at(e.span, ParseErrorKind::Other(format!("{} has no attribute `{}`", self.owner, e.key))));
        }
        self.cursor.seek(self.end);
        Ok(())
    }
}

/// Passes over `-1.5`, `word` or `word(…)`.
fn skip_value(cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
    cursor.eat("-");
    if !matches!(cursor.peek().kind, TokenKind::Ident | TokenKind::Number) {
        return Err(cursor.unexpected("a number or a word"));
    }
    cursor.advance();
    if cursor.eat("(") {
        while !cursor.eat(")") {
            if cursor.peek().kind == TokenKind::End {
                return Err(cursor.unexpected("`)`"));
            }
            cursor.advance();
        }
    }
    Ok(())
}

/// Reads an op's name and makes it an op with the attributes that `attrs` finds after the operands.
pub(super) fn read_op(name: &str, attrs: &mut Attrs<'_, '_>) -> Result<Option<Op>, ParseError> {
    Ok(Some(match name {
        "embed" => Op::Embed,
        "linear" => Op::Linear,
        "rms_norm" => Op::RmsNorm(NormAttrs {
            eps: attrs.required("eps", Cursor::f32)?,
            heads: attrs.required("heads", Cursor::u32)?,
            unit_offset: attrs.optional("unit_offset", |cursor| cursor.expect_word("yes"))?.is_some(),
        }),
        "layer_norm" => Op::LayerNorm { eps: attrs.required("eps", Cursor::f32)? },
        "rope" => Op::Rope(RopeAttrs {
            heads: attrs.required("heads", Cursor::u32)?,
            head_dim: attrs.required("head_dim", Cursor::u32)?,
            rotary_dim: attrs.required("rotary_dim", Cursor::u32)?,
            theta: attrs.required("theta", Cursor::f32)?,
            scaling: attrs.required("scaling", read_scaling)?,
        }),
        "kv_append" => Op::KvAppend(KvAppendAttrs { slot: attrs.required("slot", Cursor::u32)?, part: attrs.required("part", read_part)? }),
        "attention" => Op::Attention(AttentionAttrs {
            heads: attrs.required("heads", Cursor::u32)?,
            kv_heads: attrs.required("kv_heads", Cursor::u32)?,
            head_dim: attrs.required("head_dim", Cursor::u32)?,
            scale: attrs.required("scale", Cursor::f32)?,
            window: attrs.optional("window", Cursor::u32)?,
            softcap: attrs.optional("softcap", Cursor::f32)?,
        }),
        "silu" => Op::Silu,
        "gelu_tanh" => Op::GeluTanh,
        "mul" => Op::Mul,
        "add" => Op::Add,
        "scale" => Op::Scale { factor: attrs.required("factor", Cursor::f32)? },
        "softcap" => Op::Softcap { cap: attrs.required("cap", Cursor::f32)? },
        "quantize_act" => Op::QuantizeAct,
        _ => return Ok(None),
    }))
}

/// Takes `k` or `v`.
pub(crate) fn read_part(cursor: &mut Cursor<'_>) -> Result<KvPart, ParseError> {
    let expected = "`k` or `v`";
    let part = match cursor.peek_text() {
        "k" => KvPart::K,
        "v" => KvPart::V,
        _ => return Err(cursor.unexpected(expected)),
    };
    cursor.ident(expected)?;
    Ok(part)
}

/// Takes `default`, `linear(…)`, `llama3(…)` or `per_pair(…)`.
pub(crate) fn read_scaling(cursor: &mut Cursor<'_>) -> Result<RopeScaling, ParseError> {
    let expected = "`default`, `linear(…)`, `llama3(…)` or `per_pair(…)`";
    let Some(kind) = ["default", "linear", "llama3", "per_pair"].into_iter().find(|k| cursor.at_word(k)) else {
        return Err(cursor.unexpected(expected));
    };
    cursor.expect_word(kind)?;
    if kind == "default" {
        return Ok(RopeScaling::Default);
    }
    cursor.expect("(")?;
    if kind == "per_pair" {
        let magnitude = named(cursor, "magnitude", Cursor::f32)?;
        cursor.expect(",")?;
        let divisors = named(cursor, "divisors", read_list)?;
        cursor.expect(")")?;
        return Ok(RopeScaling::PerPair { magnitude, divisors });
    }
    let factor = named(cursor, "factor", Cursor::f32)?;
    let scaling = if kind == "linear" {
        RopeScaling::Linear { factor }
    } else {
        let mut next = |name| {
            cursor.expect(",")?;
            named(cursor, name, Cursor::f32)
        };
        let (low, high) = (next("low")?, next("high")?);
        cursor.expect(",")?;
        RopeScaling::Llama3 { factor, low, high, original: named(cursor, "original", Cursor::u32)? }
    };
    cursor.expect(")")?;
    Ok(scaling)
}

/// Takes `[1.0, 2.0, …]`.
fn read_list(cursor: &mut Cursor<'_>) -> Result<Vec<f32>, ParseError> {
    let mut list = Vec::new();
    cursor.expect("[")?;
    while !cursor.eat("]") {
        list.push(cursor.f32()?);
        if !cursor.at("]") {
            cursor.expect(",")?;
        }
    }
    Ok(list)
}

fn named<'a, T>(cursor: &mut Cursor<'a>, name: &str, read: impl FnOnce(&mut Cursor<'a>) -> Result<T, ParseError>) -> Result<T, ParseError> {
    cursor.expect_word(name)?;
    cursor.expect("=")?;
    read(cursor)
}

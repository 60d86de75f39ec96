//! The lexer of `.slmir` and the cursor that both parsers walk on.
//!
//! Tokens: identifiers `[A-Za-z_][A-Za-z0-9_]*` (ids such as `v3` and types such as `f32x8` are identifiers), names
//! `@plain-name.1` or `@"any text"`, strings, numbers (unsigned; a sign is a token of its own and is taken by
//! [`Cursor::f32`] and [`Cursor::i64`]), and punctuation, of which `->` and `..` have two characters. Indices are bytes.

use super::float::parse_f32;
use crate::diag::{LineColumn, ParseError, ParseErrorKind, Span};

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenKind {
    /// An identifier or keyword.
    Ident,
    /// `@name`, with the name.
    Name(String),
    /// A string, unescaped.
    Str(String),
    /// An unsigned number: decimal, hex, or float of either kind.
    Number,
    /// One of `( ) [ ] { } < > , : = + - * / % . & | ! ? ^ ~ #` or `->` or `..`.
    Punct(&'static str),
    /// The end of the text.
    End,
}

/// A token and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its bytes.
    pub span: Span,
}

const PUNCTUATION: [&str; 26] =
    ["->", "..", "(", ")", "[", "]", "{", "}", "<", ">", ",", ":", "=", "+", "-", "*", "/", "%", ".", "&", "|", "!", "?", "^", "~", "#"];

/// Puts a text in quotes so that the lexer reads it back.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Prints a name so that the lexer reads it back: `@plain` or `@"with blanks"`.
pub fn at_name(name: &str) -> String {
    let plain = !name.is_empty() && name.bytes().all(is_name_byte);
    if plain { format!("@{name}") } else { format!("@{}", quote(name)) }
}

fn is_ident_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

fn is_name_byte(b: u8) -> bool {
    is_ident_byte(b) || b == b'-' || b == b'.'
}

/// A parser's position in the tokens of a text. Every `expect`-like method either takes what it names and moves on, or
/// gives an error that says what was expected and what stands there.
#[derive(Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    next: usize,
}

impl<'a> Cursor<'a> {
    /// Splits a text into tokens.
    pub fn new(text: &'a str) -> Result<Self, ParseError> {
        let mut tokens = Vec::new();
        let mut pos = 0;
        loop {
            pos = skip_blank(text, pos);
            let token = scan(text, pos)?;
            pos = token.span.end;
            let end = token.kind == TokenKind::End;
            tokens.push(token);
            if end {
                return Ok(Self { text, tokens, next: 0 });
            }
        }
    }

    /// The token ahead.
    pub fn peek(&self) -> &Token {
        self.peek_at(0)
    }

    /// The token `ahead` places after the one ahead; past the end it is the end.
    pub fn peek_at(&self, ahead: usize) -> &Token {
        &self.tokens[(self.next + ahead).min(self.tokens.len() - 1)]
    }

    /// The text of the token ahead.
    pub fn peek_text(&self) -> &'a str {
        self.text_of(self.peek().span)
    }

    /// Where the token ahead is.
    pub fn span(&self) -> Span {
        self.peek().span
    }

    /// The bytes of a span.
    pub fn text_of(&self, span: Span) -> &'a str {
        &self.text[span.start..span.end]
    }

    /// The number of tokens taken so far, for [`seek`](Self::seek).
    pub fn position(&self) -> usize {
        self.next
    }

    /// Goes back (or on) to a position that [`position`](Self::position) gave.
    pub fn seek(&mut self, position: usize) {
        self.next = position.min(self.tokens.len() - 1);
    }

    /// Takes the token ahead; the end is never passed.
    pub fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        if token.kind != TokenKind::End {
            self.next += 1;
        }
        token
    }

    /// An error at `span`.
    pub fn error_at(&self, span: Span, kind: ParseErrorKind) -> ParseError {
        ParseError { span, at: LineColumn::of(self.text, span.start), kind }
    }

    /// The error that the token ahead is not what was expected.
    pub fn unexpected(&self, expected: impl Into<String>) -> ParseError {
        let found = match &self.peek().kind {
            TokenKind::End => "the end of the text".to_string(),
            _ => format!("`{}`", self.peek_text()),
        };
        self.error_at(self.span(), ParseErrorKind::Expected { expected: expected.into(), found })
    }

    /// Whether the token ahead is this punctuation.
    pub fn at(&self, punct: &str) -> bool {
        matches!(&self.peek().kind, TokenKind::Punct(p) if *p == punct)
    }

    /// Takes this punctuation if it is ahead.
    pub fn eat(&mut self, punct: &str) -> bool {
        let found = self.at(punct);
        if found {
            self.next += 1;
        }
        found
    }

    /// Takes this punctuation.
    pub fn expect(&mut self, punct: &str) -> Result<Span, ParseError> {
        let span = self.span();
        if self.eat(punct) { Ok(span) } else { Err(self.unexpected(format!("`{punct}`"))) }
    }

    /// Whether the token ahead is this word.
    pub fn at_word(&self, word: &str) -> bool {
        self.peek().kind == TokenKind::Ident && self.peek_text() == word
    }

    /// Takes this word if it is ahead.
    pub fn eat_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.next += 1;
        }
        found
    }

    /// Takes this word.
    pub fn expect_word(&mut self, word: &str) -> Result<Span, ParseError> {
        let span = self.span();
        if self.eat_word(word) { Ok(span) } else { Err(self.unexpected(format!("`{word}`"))) }
    }

    /// Takes an identifier; `what` names it in the error ("a type").
    pub fn ident(&mut self, what: &str) -> Result<&'a str, ParseError> {
        if self.peek().kind != TokenKind::Ident {
            return Err(self.unexpected(what));
        }
        let text = self.peek_text();
        self.next += 1;
        Ok(text)
    }

    /// Whether the token ahead is an id of this prefix (`v` followed by digits).
    pub fn at_id(&self, prefix: &str) -> bool {
        self.peek().kind == TokenKind::Ident && id_number(self.peek_text(), prefix).is_some()
    }

    /// Takes an id such as `v3` and gives its number.
    pub fn id(&mut self, prefix: &str) -> Result<u32, ParseError> {
        let number = (self.peek().kind == TokenKind::Ident).then(|| id_number(self.peek_text(), prefix)).flatten();
        match number {
            Some(n) => {
                self.next += 1;
                Ok(n)
            }
            None => Err(self.unexpected(format!("an id such as `{prefix}0`"))),
        }
    }

    /// Takes `@name`.
    pub fn name(&mut self) -> Result<String, ParseError> {
        if let TokenKind::Name(name) = &self.peek().kind {
            let name = name.clone();
            self.next += 1;
            return Ok(name);
        }
        Err(self.unexpected("a name such as `@model`"))
    }

    /// Takes a string.
    pub fn string(&mut self) -> Result<String, ParseError> {
        if let TokenKind::Str(text) = &self.peek().kind {
            let text = text.clone();
            self.next += 1;
            return Ok(text);
        }
        Err(self.unexpected("a string"))
    }

    /// Takes an unsigned integer, decimal or hex.
    pub fn u64(&mut self) -> Result<u64, ParseError> {
        let span = self.span();
        let text = self.number("an unsigned integer")?;
        let value = match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => text.parse(),
        };
        value.map_err(|_| self.bad_number(span, "an integer below 2^64"))
    }

    /// Takes an unsigned integer below 2^32.
    pub fn u32(&mut self) -> Result<u32, ParseError> {
        let span = self.span();
        u32::try_from(self.u64()?).map_err(|_| self.bad_number(span, "an integer below 2^32"))
    }

    /// Takes an integer with an optional `-`.
    pub fn i64(&mut self) -> Result<i64, ParseError> {
        let span = self.span();
        let negative = self.eat("-");
        let magnitude = i128::from(self.u64()?);
        let value = if negative { -magnitude } else { magnitude };
        i64::try_from(value).map_err(|_| self.bad_number(span, "an integer of 64 bits"))
    }

    /// Takes a float with an optional `-`: exact hex, decimal, `inf`, `nan`.
    pub fn f32(&mut self) -> Result<f32, ParseError> {
        let negative = self.eat("-");
        let span = self.span();
        let text = if self.at_word("inf") || self.at_word("nan") { self.ident("a number")? } else { self.number("a number")? };
        let value = parse_f32(text).ok_or_else(|| self.bad_number(span, "a finite f32, exact if hex"))?;
        Ok(if negative { -value } else { value })
    }

    /// Takes a hex number of exactly `N` bytes, most significant first.
    pub fn hex_bytes<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let span = self.span();
        let text = self.number("a hex number")?;
        let digits = text.strip_prefix("0x").unwrap_or("").as_bytes();
        let mut out = [0; N];
        let fits = digits.len() == 2 * N && digits.iter().all(u8::is_ascii_hexdigit);
        if !fits {
            return Err(self.bad_number(span, &format!("0x and {} hex digits", 2 * N)));
        }
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            let value = |d: u8| (d as char).to_digit(16).unwrap_or(0) as u8;
            *byte = value(pair[0]) << 4 | value(pair[1]);
        }
        Ok(out)
    }

    /// Takes the first line of every text, `slmir 0`.
    pub fn version(&mut self) -> Result<(), ParseError> {
        self.expect_word("slmir")?;
        let span = self.span();
        if self.u64()? != 0 {
            return Err(self.error_at(span, ParseErrorKind::Other("this compiler reads version 0 only: expected `slmir 0`".into())));
        }
        Ok(())
    }

    /// Takes the end of the text.
    pub fn end(&mut self) -> Result<(), ParseError> {
        if self.peek().kind == TokenKind::End { Ok(()) } else { Err(self.unexpected("the end of the text")) }
    }

    fn number(&mut self, what: &str) -> Result<&'a str, ParseError> {
        if self.peek().kind != TokenKind::Number {
            return Err(self.unexpected(what));
        }
        let text = self.peek_text();
        self.next += 1;
        Ok(text)
    }

    fn bad_number(&self, span: Span, expected: &str) -> ParseError {
        self.error_at(span, ParseErrorKind::Number { text: self.text_of(span).to_string(), expected: expected.to_string() })
    }
}

/// The number of an id: canonical decimal, so that two spellings never name one id.
fn id_number(text: &str, prefix: &str) -> Option<u32> {
    let digits = text.strip_prefix(prefix)?;
    let canonical = digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()));
    if canonical { digits.parse().ok() } else { None }
}

fn skip_blank(text: &str, mut pos: usize) -> usize {
    let bytes = text.as_bytes();
    while let Some(&b) = bytes.get(pos) {
        match b {
            b' ' | b'\t' | b'\r' | b'\n' => pos += 1,
            b';' => pos = text[pos..].find('\n').map_or(text.len(), |i| pos + i),
            _ => break,
        }
    }
    pos
}

fn scan(text: &str, start: usize) -> Result<Token, ParseError> {
    let bytes = text.as_bytes();
    let run = |from: usize, accept: fn(u8) -> bool| from + bytes[from..].iter().take_while(|&&b| accept(b)).count();
    let token = |kind, end| Ok(Token { kind, span: Span { start, end } });
    let Some(&first) = bytes.get(start) else {
        return token(TokenKind::End, start);
    };
    match first {
        b'"' => {
            let (value, end) = scan_string(text, start)?;
            token(TokenKind::Str(value), end)
        }
        b'@' if bytes.get(start + 1) == Some(&b'"') => {
            let (value, end) = scan_string(text, start + 1)?;
            token(TokenKind::Name(value), end)
        }
        b'@' => {
            let end = run(start + 1, is_name_byte);
            if end == start + 1 {
                return Err(error(text, start, end, ParseErrorKind::Character('@')));
            }
            token(TokenKind::Name(text[start + 1..end].to_string()), end)
        }
        b'0'..=b'9' => token(TokenKind::Number, number_end(bytes, start)),
        b if is_ident_byte(b) => token(TokenKind::Ident, run(start, is_ident_byte)),
        _ => {
            if let Some(p) = PUNCTUATION.iter().find(|p| text[start..].starts_with(**p)) {
                return token(TokenKind::Punct(p), start + p.len());
            }
            let c = text[start..].chars().next().unwrap_or('\u{fffd}');
            Err(error(text, start, start + c.len_utf8(), ParseErrorKind::Character(c)))
        }
    }
}

/// The end of a number: digits and letters, one `.` that a digit follows, and a sign after the exponent's letter.
fn number_end(bytes: &[u8], start: usize) -> usize {
    let hex = bytes[start..].starts_with(b"0x");
    let mut pos = start;
    while let Some(&b) = bytes.get(pos) {
        let digit_ahead = bytes.get(pos + 1).is_some_and(|d| if hex { d.is_ascii_hexdigit() } else { d.is_ascii_digit() });
        let exponent = |e: u8| if hex { e == b'p' } else { e == b'e' };
        let part = match b {
            b'.' => digit_ahead,
            b'+' | b'-' => pos > start && exponent(bytes[pos - 1]) && digit_ahead,
            _ => is_ident_byte(b),
        };
        if !part {
            break;
        }
        pos += 1;
    }
    pos
}

fn scan_string(text: &str, start: usize) -> Result<(String, usize), ParseError> {
    let mut out = String::new();
    let mut chars = text[start + 1..].char_indices().map(|(i, c)| (start + 1 + i, c));
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((out, at + 1)),
            '\n' => break,
            '\\' => {
                let bad = || error(text, at, at + 1, ParseErrorKind::Escape);
                match chars.next().map(|(_, c)| c) {
                    Some('\\') => out.push('\\'),
                    Some('"') => out.push('"'),
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('u') => {
                        let digits: String = chars.by_ref().map(|(_, c)| c).take_while(|&c| c != '}').take(8).collect();
                        let code = digits.strip_prefix('{').and_then(|d| u32::from_str_radix(d, 16).ok());
                        out.push(code.and_then(char::from_u32).ok_or_else(bad)?);
                    }
                    _ => return Err(bad()),
                }
            }
            c => out.push(c),
        }
    }
    Err(error(text, start, text.len().min(start + 1), ParseErrorKind::OpenString))
}

fn error(text: &str, start: usize, end: usize, kind: ParseErrorKind) -> ParseError {
    ParseError { span: Span { start, end }, at: LineColumn::of(text, start), kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_each_kind() {
        let mut c = Cursor::new("slmir 0 ; a comment\n@a-1.b @\"x y\" v12 0x1.8p-1 -7 0..8 -> \"q\\\"\\n\\u{e9}\" 0x00ff P+T").expect("lexes");
        c.version().expect("version");
        assert_eq!(c.name().as_deref(), Ok("a-1.b"));
        assert_eq!(c.name().as_deref(), Ok("x y"));
        assert_eq!(c.id("v"), Ok(12));
        assert_eq!(c.f32(), Ok(0.75));
        assert_eq!(c.i64(), Ok(-7));
        assert_eq!(c.u32(), Ok(0));
        assert!(c.eat("..") && !c.eat_word("8"));
        assert_eq!(c.u32(), Ok(8));
        assert!(c.eat("->"));
        assert_eq!(c.string().as_deref(), Ok("q\"\né"));
        assert_eq!(c.hex_bytes::<2>(), Ok([0, 255]));
        assert!(c.eat_word("P") && c.eat("+") && c.eat_word("T"));
        c.end().expect("end");
    }

    #[test]
    fn errors_name_place_expected_and_found() {
        let mut c = Cursor::new("graph\n  v0").expect("lexes");
        c.expect_word("graph").expect("word");
        let e = c.id("w").expect_err("not a weight");
        assert_eq!(e.to_string(), "2:3: expected an id such as `w0`, found `v0`");
        assert_eq!(Cursor::new("a \"b").expect_err("open").to_string(), "1:3: string is not closed: expected `\"` before the end of the line");
        assert_eq!(Cursor::new("ä").expect_err("letter").to_string(), "1:1: unexpected character 'ä'");
        let e = Cursor::new("v01").expect("lexes").id("v").expect_err("leading zero");
        assert_eq!(e.to_string(), "1:1: expected an id such as `v0`, found `v01`");
    }

    #[test]
    fn quoted_text_comes_back() {
        for text in ["", "a\\b\"c\n\t\u{1}", "ü ; { @"] {
            assert_eq!(Cursor::new(&quote(text)).expect("lexes").string().as_deref(), Ok(text));
            assert_eq!(Cursor::new(&at_name(text)).expect("lexes").name().as_deref(), Ok(text));
        }
    }
}

//! Reads operands, places and expressions of kernels.

use super::expr::{BinaryOp, Builtin, CmpOp, Expr, Imm, Operand, ReduceOp, UnaryOp};
use super::parse::Parser;
use super::{BufId, ValueId, VarId};
use crate::arena::Id;
use crate::diag::ParseError;
use crate::text::{Cursor, TokenKind};

/// Whether the number ahead (after its sign) is written as a float: hex with an exponent, decimal with a point or exponent,
/// `inf` or `nan`.
fn float_ahead(cursor: &Cursor<'_>) -> bool {
    let token = cursor.peek_at(usize::from(cursor.at("-")));
    let text = cursor.text_of(token.span);
    match token.kind {
        TokenKind::Ident => matches!(text, "inf" | "nan"),
        TokenKind::Number => text.contains('.') || text.contains(if text.starts_with("0x") { 'p' } else { 'e' }),
        _ => false,
    }
}

/// Takes a word of a table.
pub(super) fn word<T: Copy>(cursor: &mut Cursor<'_>, table: &[(T, &str)], what: &str) -> Result<T, ParseError> {
    let found = table.iter().find(|(_, name)| cursor.at_word(name));
    match found {
        Some((op, _)) => {
            cursor.advance();
            Ok(*op)
        }
        None => Err(cursor.unexpected(what)),
    }
}

impl Parser<'_, '_> {
    /// A value or an immediate.
    pub(super) fn operand(&mut self) -> Result<Operand, ParseError> {
        if self.cursor.at_id(ValueId::PREFIX) {
            let span = self.cursor.span();
            let number = self.cursor.id(ValueId::PREFIX)?;
            self.ids.use_value(number, span);
            return Ok(Operand::Value(ValueId::new(number as usize)));
        }
        if float_ahead(self.cursor) {
            return Ok(Operand::Imm(Imm::Float(self.cursor.f32()?)));
        }
        if self.cursor.at("-") || self.cursor.peek().kind == TokenKind::Number {
            return Ok(Operand::Imm(Imm::Int(self.cursor.i64()?)));
        }
        Err(self.cursor.unexpected("a value such as `v0` or a number"))
    }

    /// `b0[index]`.
    pub(super) fn place(&mut self) -> Result<(BufId, Operand), ParseError> {
        let span = self.cursor.span();
        let number = self.cursor.id(BufId::PREFIX)?;
        self.ids.use_buffer(number, span);
        self.cursor.expect("[")?;
        let index = self.operand()?;
        self.cursor.expect("]")?;
        Ok((BufId::new(number as usize), index))
    }

    /// A variable that is used.
    pub(super) fn var(&mut self) -> Result<VarId, ParseError> {
        let span = self.cursor.span();
        let number = self.cursor.id(VarId::PREFIX)?;
        self.ids.use_var(number, span);
        Ok(VarId::new(number as usize))
    }

    fn two(&mut self) -> Result<(Operand, Operand), ParseError> {
        let a = self.operand()?;
        self.cursor.expect(",")?;
        Ok((a, self.operand()?))
    }

    fn three(&mut self) -> Result<(Operand, Operand, Operand), ParseError> {
        let (a, b) = self.two()?;
        self.cursor.expect(",")?;
        Ok((a, b, self.operand()?))
    }

    fn small(&mut self, what: &str) -> Result<u16, ParseError> {
        let span = self.cursor.span();
        let number = self.cursor.u32()?;
        let kind = || crate::diag::ParseErrorKind::Number { text: number.to_string(), expected: what.to_string() };
        u16::try_from(number).map_err(|_| self.cursor.error_at(span, kind()))
    }

    /// A pure expression.
    pub(super) fn expr(&mut self) -> Result<Expr, ParseError> {
        let expected = "an operation such as `add`, `load` or `grid`";
        if self.cursor.peek().kind != TokenKind::Ident {
            return Err(self.cursor.unexpected(expected));
        }
        let name = self.cursor.peek_text();
        if let Some((op, _)) = UnaryOp::ALL.iter().find(|(_, n)| *n == name) {
            self.cursor.advance();
            return Ok(Expr::Unary(*op, self.operand()?));
        }
        if let Some((op, _)) = BinaryOp::ALL.iter().find(|(_, n)| *n == name) {
            self.cursor.advance();
            let (a, b) = self.two()?;
            return Ok(Expr::Binary(*op, a, b));
        }
        let read: fn(&mut Self) -> Result<Expr, ParseError> = match name {
            "t" => |_| Ok(Expr::Builtin(Builtin::T)),
            "p" => |_| Ok(Expr::Builtin(Builtin::P)),
            "row" => |_| Ok(Expr::Builtin(Builtin::Row)),
            "lane" => |_| Ok(Expr::Builtin(Builtin::Lane)),
            "subgroup_index" => |_| Ok(Expr::Builtin(Builtin::Subgroup)),
            "subgroup_lane" => |_| Ok(Expr::Builtin(Builtin::SubgroupLane)),
            "subgroups" => |_| Ok(Expr::Builtin(Builtin::Subgroups)),
            "grid" => |s| Ok(Expr::Builtin(Builtin::Grid(word(s.cursor, &[(0, "x"), (1, "y"), (2, "z")], "`x`, `y` or `z`")?))),
            "fma" => |s| s.three().map(|(a, b, c)| Expr::Fma(a, b, c)),
            "cmp" => |s| {
                let op = word(s.cursor, &CmpOp::ALL, "`eq`, `ne`, `lt`, `le`, `gt` or `ge`")?;
                s.two().map(|(a, b)| Expr::Cmp(op, a, b))
            },
            "select" => |s| s.three().map(|(c, a, b)| Expr::Select(c, a, b)),
            "convert" => |s| s.operand().map(Expr::Convert),
            "bitcast" => |s| s.operand().map(Expr::Bitcast),
            "dot4" => Self::dot4,
            "dot2" => |s| s.two().map(|(a, b)| Expr::Dot2(a, b)),
            "mmla" => |s| s.three().map(|(acc, a, b)| Expr::Mmla(acc, a, b)),
            "repeat" => |s| s.operand().map(Expr::Repeat),
            "extract" => |s| {
                let a = s.operand()?;
                s.cursor.expect(",")?;
                Ok(Expr::Extract(a, s.small("a lane below 65536")?))
            },
            "shuffle" => Self::shuffle,
            "reduce" => |s| {
                let op = word(s.cursor, &ReduceOp::ALL, "`add`, `max` or `min`")?;
                s.operand().map(|a| Expr::Reduce(op, a))
            },
            _ => return Err(self.cursor.unexpected(expected)),
        };
        self.cursor.advance();
        read(self)
    }

    fn dot4(&mut self) -> Result<Expr, ParseError> {
        let (acc, a, b) = self.three()?;
        self.cursor.expect("{")?;
        self.cursor.expect_word("max_a")?;
        self.cursor.expect("=")?;
        let span = self.cursor.span();
        let max_a = self.small("0 to 255")?;
        let kind = || crate::diag::ParseErrorKind::Number { text: max_a.to_string(), expected: "0 to 255".to_string() };
        let max_a = u8::try_from(max_a).map_err(|_| self.cursor.error_at(span, kind()))?;
        self.cursor.expect("}")?;
        Ok(Expr::Dot4 { acc, a, b, max_a })
    }

    fn shuffle(&mut self) -> Result<Expr, ParseError> {
        let (a, b) = self.two()?;
        self.cursor.expect(",")?;
        self.cursor.expect("[")?;
        let mut lanes = Vec::new();
        while !self.cursor.eat("]") {
            lanes.push(self.small("a lane below 65536")?);
            if !self.cursor.eat(",") && !self.cursor.at("]") {
                return Err(self.cursor.unexpected("`,` or `]` after a lane"));
            }
        }
        Ok(Expr::Shuffle(a, b, lanes))
    }
}

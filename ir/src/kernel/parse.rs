//! Reads kernels from `.slmir`; `print.rs` writes them and shows the form.
//!
//! Ids in the text may be any distinct numbers, and keep their order: the value of the least number becomes `v0`. So a
//! printed kernel is read back equal, and lines of a hand-written one can be deleted. A use may stand before its definition:
//! order, scopes, types and ranges are the verifier's business.

use std::collections::BTreeMap;

use super::expr::{Operand, ReduceOp};
use super::parse_expr::word;
use super::parse_ids::Ids;
use super::stmt::Stmt;
use super::ty::Type;
use super::{Access, Buffer, Def, Expr, Kernel, KernelModule, Space, StepBounds, Value, VarId};
use crate::arena::{Arena, Id};
use crate::diag::{ParseError, ParseErrorKind, Span};
use crate::text::{Cursor, TokenKind};

/// How deep blocks may be nested.
const DEPTH: usize = 64;

impl KernelModule {
    /// Reads a module from its text form: the version line and any number of kernels.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(text)?;
        cursor.version()?;
        let module = Self::read(&mut cursor)?;
        cursor.end()?;
        Ok(module)
    }

    /// Reads the kernels ahead.
    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Self, ParseError> {
        let mut module = KernelModule::default();
        while cursor.at_word("kernel") {
            module.kernels.push(read_kernel(cursor)?);
        }
        Ok(module)
    }
}

impl Kernel {
    /// Reads one kernel, without a version line.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(text)?;
        let kernel = read_kernel(&mut cursor)?;
        cursor.end()?;
        Ok(kernel)
    }
}

/// Takes `word = value`.
fn field<'a, T>(cursor: &mut Cursor<'a>, word: &str, read: impl FnOnce(&mut Cursor<'a>) -> Result<T, ParseError>) -> Result<T, ParseError> {
    cursor.expect_word(word)?;
    cursor.expect("=")?;
    read(cursor)
}

fn bounds(cursor: &mut Cursor<'_>) -> Result<(u32, u32), ParseError> {
    let low = cursor.u32()?;
    cursor.expect("..")?;
    Ok((low, cursor.u32()?))
}

fn triple(cursor: &mut Cursor<'_>) -> Result<[u32; 3], ParseError> {
    cursor.expect("[")?;
    let x = cursor.u32()?;
    cursor.expect(",")?;
    let y = cursor.u32()?;
    cursor.expect(",")?;
    let z = cursor.u32()?;
    cursor.expect("]")?;
    Ok([x, y, z])
}

/// Takes a type.
pub(super) fn read_type(cursor: &mut Cursor<'_>) -> Result<Type, ParseError> {
    let expected = "a type such as `f32` or `u8x64`";
    match Type::parse(cursor.peek_text()) {
        Some(ty) if cursor.peek().kind == TokenKind::Ident => {
            cursor.advance();
            Ok(ty)
        }
        _ => Err(cursor.unexpected(expected)),
    }
}

fn read_kernel(cursor: &mut Cursor<'_>) -> Result<Kernel, ParseError> {
    cursor.expect_word("kernel")?;
    let name = cursor.name()?;
    cursor.expect("{")?;
    let t = field(cursor, "t", bounds)?;
    cursor.expect(",")?;
    let p = field(cursor, "p", bounds)?;
    cursor.expect(",")?;
    let row = field(cursor, "row", bounds)?;
    cursor.expect(",")?;
    let grid = field(cursor, "grid", triple)?;
    cursor.expect(",")?;
    let lanes = field(cursor, "lanes", Cursor::u32)?;
    cursor.expect("}")?;
    let mut parser = Parser { cursor, ids: Ids::default(), buffers: BTreeMap::new(), vars: BTreeMap::new(), values: BTreeMap::new() };
    parser.cursor.expect("(")?;
    while !parser.cursor.eat(")") {
        parser.buffer(None)?;
        if !parser.cursor.eat(",") && !parser.cursor.at(")") {
            return Err(parser.cursor.unexpected("`,` or `)` after a parameter"));
        }
    }
    parser.cursor.expect("{")?;
    loop {
        let space = match parser.cursor.peek_text() {
            "private" => Space::Private,
            "workgroup" => Space::Workgroup,
            _ => break,
        };
        parser.cursor.advance();
        parser.buffer(Some(space))?;
    }
    let mut body = parser.block(0)?;
    let mut kernel = Kernel {
        name,
        bounds: StepBounds { t, p, row },
        grid,
        lanes,
        buffers: Arena::new(),
        vars: Arena::new(),
        values: Arena::new(),
        body: Vec::new(),
    };
    let Parser { cursor, ids, buffers, vars, mut values } = parser;
    ids.resolve(cursor, &buffers, &vars, &mut values, &mut body)?;
    for buffer in buffers.into_values() {
        kernel.buffers.push(buffer);
    }
    for ty in vars.into_values() {
        kernel.vars.push(ty);
    }
    for value in values.into_values() {
        kernel.values.push(value);
    }
    kernel.body = body;
    Ok(kernel)
}

/// Reads a kernel's buffers and body with the numbers as written; [`Ids::resolve`] then makes ids of them.
pub(super) struct Parser<'c, 'a> {
    pub(super) cursor: &'c mut Cursor<'a>,
    pub(super) ids: Ids,
    buffers: BTreeMap<u32, Buffer>,
    vars: BTreeMap<u32, Type>,
    values: BTreeMap<u32, Value>,
}

impl Parser<'_, '_> {
    fn duplicate(&self, span: Span) -> ParseError {
        self.cursor.error_at(span, ParseErrorKind::Duplicate(self.cursor.text_of(span).to_string()))
    }

    /// A buffer; a parameter if `space` is `None`.
    fn buffer(&mut self, space: Option<Space>) -> Result<(), ParseError> {
        let span = self.cursor.span();
        let number = self.cursor.id(super::BufId::PREFIX)?;
        self.cursor.expect("%")?;
        let quoted = matches!(self.cursor.peek().kind, TokenKind::Str(_));
        let name = if quoted { self.cursor.string()? } else { self.cursor.ident("the buffer's name")?.to_string() };
        self.cursor.expect(":")?;
        let elem = read_type(self.cursor)?;
        self.cursor.expect("[")?;
        let len = self.cursor.u32()?;
        self.cursor.expect("]")?;
        if space.is_none() {
            self.cursor.expect_word("param")?;
        }
        let access = match Access::ALL.iter().find(|(_, word)| self.cursor.at_word(word)) {
            Some((access, _)) => {
                self.cursor.advance();
                *access
            }
            None if space.is_some() => Access::ReadWrite,
            None => return Err(self.cursor.unexpected("`read`, `write` or `read_write`")),
        };
        self.cursor.expect_word("align")?;
        let align = self.cursor.u32()?;
        let space = space.unwrap_or(Space::Param);
        match self.buffers.insert(number, Buffer { name, elem, len, space, access, align }) {
            None => Ok(()),
            Some(_) => Err(self.duplicate(span)),
        }
    }

    /// Statements up to the `}` that closes their block.
    fn block(&mut self, depth: usize) -> Result<Vec<Stmt>, ParseError> {
        if depth > DEPTH {
            return Err(self.cursor.error_at(self.cursor.span(), ParseErrorKind::Nesting(DEPTH)));
        }
        let mut stmts = Vec::new();
        while !self.cursor.eat("}") {
            stmts.push(self.stmt(depth)?);
        }
        Ok(stmts)
    }

    fn stmt(&mut self, depth: usize) -> Result<Stmt, ParseError> {
        if self.cursor.eat_word("store") {
            let (buf, index) = self.place()?;
            self.cursor.expect(",")?;
            return Ok(Stmt::Store { buf, index, value: self.operand()? });
        }
        if self.cursor.eat_word("prefetch") {
            let (buf, index) = self.place()?;
            return Ok(Stmt::Prefetch { buf, index });
        }
        if self.cursor.eat_word("set") {
            let var = self.var()?;
            self.cursor.expect("=")?;
            return Ok(Stmt::Set { var, value: self.operand()? });
        }
        if self.cursor.eat_word("barrier") {
            return Ok(Stmt::Barrier);
        }
        if self.cursor.eat_word("if") {
            let cond = self.operand()?;
            self.cursor.expect("{")?;
            let then = self.block(depth + 1)?;
            let otherwise = if self.cursor.eat_word("else") {
                self.cursor.expect("{")?;
                self.block(depth + 1)?
            } else {
                Vec::new()
            };
            return Ok(Stmt::If { cond, then, otherwise });
        }
        if self.cursor.eat_word("for") {
            return self.loop_(depth);
        }
        let span = self.cursor.span();
        if self.cursor.at_id(VarId::PREFIX) {
            let number = self.cursor.id(VarId::PREFIX)?;
            self.cursor.expect(":")?;
            let ty = read_type(self.cursor)?;
            self.cursor.expect("=")?;
            self.cursor.expect_word("var")?;
            let init = self.operand()?;
            return match self.vars.insert(number, ty) {
                None => Ok(Stmt::Var { var: VarId::new(number as usize), init }),
                Some(_) => Err(self.duplicate(span)),
            };
        }
        if !self.cursor.at_id(super::ValueId::PREFIX) {
            return Err(self.cursor.unexpected("a statement or `}`"));
        }
        let number = self.cursor.id(super::ValueId::PREFIX)?;
        self.cursor.expect(":")?;
        let ty = read_type(self.cursor)?;
        self.cursor.expect("=")?;
        let dst = super::ValueId::new(number as usize);
        if self.cursor.eat_word("load") {
            let (buf, index) = self.place()?;
            self.define(number, span, Value { ty, def: Def::Stmt })?;
            return Ok(Stmt::Load { dst, buf, index });
        }
        if self.cursor.eat_word("get") {
            let var = self.var()?;
            self.define(number, span, Value { ty, def: Def::Stmt })?;
            return Ok(Stmt::Get { dst, var });
        }
        if self.cursor.eat_word("subgroup") {
            let op = word(self.cursor, &ReduceOp::ALL, "`add`, `max` or `min`")?;
            let value = self.operand()?;
            self.define(number, span, Value { ty, def: Def::Stmt })?;
            return Ok(Stmt::Subgroup { dst, op, value });
        }
        let expr: Expr = self.expr()?;
        self.define(number, span, Value { ty, def: Def::Expr(expr) })?;
        Ok(Stmt::Let(dst))
    }

    fn define(&mut self, number: u32, span: Span, value: Value) -> Result<(), ParseError> {
        match self.values.insert(number, value) {
            None => Ok(()),
            Some(_) => Err(self.duplicate(span)),
        }
    }

    fn loop_(&mut self, depth: usize) -> Result<Stmt, ParseError> {
        let span = self.cursor.span();
        let number = self.cursor.id(super::ValueId::PREFIX)?;
        self.define(number, span, Value { ty: Type::INDEX, def: Def::Stmt })?;
        self.cursor.expect_word("in")?;
        let start: Operand = self.operand()?;
        self.cursor.expect("..")?;
        let end = self.operand()?;
        let step = if self.cursor.eat_word("step") { self.cursor.u32()? } else { 1 };
        let unroll = if self.cursor.eat_word("unroll") { self.cursor.u32()? } else { 1 };
        self.cursor.expect("{")?;
        let body = self.block(depth + 1)?;
        Ok(Stmt::For { iv: super::ValueId::new(number as usize), start, end, step, unroll, body })
    }
}

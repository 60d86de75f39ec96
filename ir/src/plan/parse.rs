//! Reads kernels and their plan from `.slmir`; `print.rs` writes them and shows the form.
//!
//! Arena buffers, KV halves and packed sections stand in order of their ids. Whether references and sizes are right is the
//! verifier's business; a kernel's name must be one of the module's.

use super::print::Row;
use super::{ArenaBuffer, ArenaId, Binding, Dispatch, Extent, KvBuffer, MatrixLayout, Packed, PackedContent, PackedId, Plan, Ring};
use crate::arena::{Arena, Id};
use crate::diag::{ParseError, ParseErrorKind};
use crate::graph::attrs::{read_part, read_scaling};
use crate::graph::{DType, RopeAttrs, WeightId};
use crate::kernel::{KernelId, KernelModule};
use crate::text::{Cursor, TokenKind};

/// Rows of one packed section that a text may ask for.
const MOST_ROWS: usize = 1 << 24;

/// Reads the text form of kernels and the plan that launches them.
pub fn parse_lowered(text: &str) -> Result<(KernelModule, Plan), ParseError> {
    let mut cursor = Cursor::new(text)?;
    cursor.version()?;
    let kernels = KernelModule::read(&mut cursor)?;
    let plan = read_plan(&mut cursor, &kernels)?;
    cursor.end()?;
    Ok((kernels, plan))
}

/// Reads the plan ahead.
pub(super) fn read_plan(cursor: &mut Cursor<'_>, kernels: &KernelModule) -> Result<Plan, ParseError> {
    Parser { cursor, kernels }.plan()
}

struct Parser<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    kernels: &'c KernelModule,
}

impl Parser<'_, '_> {
    fn other(&self, span: crate::diag::Span, message: String) -> ParseError {
        self.cursor.error_at(span, ParseErrorKind::Other(message))
    }

    /// `word value`.
    fn after(&mut self, word: &str) -> Result<u32, ParseError> {
        self.cursor.expect_word(word)?;
        self.cursor.u32()
    }

    /// `word = number,`.
    fn field(&mut self, word: &str) -> Result<u32, ParseError> {
        self.cursor.expect_word(word)?;
        self.cursor.expect("=")?;
        let value = self.cursor.u32()?;
        self.cursor.expect(",")?;
        Ok(value)
    }

    /// `word = a3`.
    fn buffer_field(&mut self, word: &str) -> Result<ArenaId, ParseError> {
        self.cursor.expect_word(word)?;
        self.cursor.expect("=")?;
        Ok(ArenaId::new(self.cursor.id(ArenaId::PREFIX)? as usize))
    }

    /// The id that comes next in its table.
    fn next_id(&mut self, prefix: &str, next: usize) -> Result<(), ParseError> {
        let span = self.cursor.span();
        let number = self.cursor.id(prefix)?;
        if number as usize != next {
            return Err(self.other(span, format!("expected {prefix}{next}, found {prefix}{number}; ids stand in order")));
        }
        Ok(())
    }

    /// `size at offset`, both in bytes.
    fn extent_in_region(&mut self) -> Result<(u64, u64), ParseError> {
        let bytes = self.cursor.u64()?;
        self.cursor.expect_word("at")?;
        Ok((bytes, self.cursor.u64()?))
    }

    fn plan(&mut self) -> Result<Plan, ParseError> {
        self.cursor.expect_word("plan")?;
        self.cursor.expect("{")?;
        let (chunk, ctx, vocab) = (self.field("chunk")?, self.field("ctx")?, self.field("vocab")?);
        let head_rows = self.field("head_rows")?;
        let tokens = self.buffer_field("tokens")?;
        self.cursor.expect(",")?;
        let logits = self.buffer_field("logits")?;
        let picked = if self.cursor.eat(",") { Some(self.buffer_field("picked")?) } else { None };
        self.cursor.expect("}")?;
        self.cursor.expect("{")?;
        let (arena_bytes, arena) = self.arena()?;
        let (kv_bytes, kv) = self.kv()?;
        let (weights_bytes, packed) = self.weights()?;
        let decode = self.list("decode")?;
        let prefill = self.list("prefill")?;
        let head_one = self.list("head_one")?;
        let head_many = self.list("head_many")?;
        let argmax = if self.cursor.at_word("argmax") { self.list("argmax")? } else { Vec::new() };
        self.cursor.expect("}")?;
        Ok(Plan {
            chunk,
            ctx,
            vocab,
            head_rows,
            arena,
            arena_bytes,
            kv,
            kv_bytes,
            packed,
            weights_bytes,
            tokens,
            logits,
            picked,
            decode,
            prefill,
            head_one,
            head_many,
            argmax,
        })
    }

    fn table(&mut self, word: &str) -> Result<u64, ParseError> {
        self.cursor.expect_word(word)?;
        let bytes = self.cursor.u64()?;
        self.cursor.expect("{")?;
        Ok(bytes)
    }

    fn arena(&mut self) -> Result<(u64, Arena<ArenaId, ArenaBuffer>), ParseError> {
        let size = self.table("arena")?;
        let mut arena = Arena::new();
        while !self.cursor.eat("}") {
            self.next_id(ArenaId::PREFIX, arena.len())?;
            let name = self.cursor.string()?;
            let (bytes, offset) = self.extent_in_region()?;
            let pinned = self.cursor.eat_word("pinned");
            arena.push(ArenaBuffer { name, bytes, offset, pinned });
        }
        Ok((size, arena))
    }

    fn kv(&mut self) -> Result<(u64, Vec<KvBuffer>), ParseError> {
        let size = self.table("kv")?;
        let mut kv = Vec::new();
        while !self.cursor.eat("}") {
            self.next_id("kv", kv.len())?;
            let slot = self.after("slot")?;
            let part = read_part(self.cursor)?;
            let (bytes, offset) = self.extent_in_region()?;
            let bytes_per_position = self.after("per")?;
            let ring = if self.cursor.at_word("ring") { Some(Ring { positions: self.after("ring")?, window: self.after("window")? }) } else { None };
            kv.push(KvBuffer { slot, part, offset, bytes, bytes_per_position, ring });
        }
        Ok((size, kv))
    }

    fn weights(&mut self) -> Result<(u64, Arena<PackedId, Packed>), ParseError> {
        let size = self.table("weights")?;
        let mut packed = Arena::new();
        while !self.cursor.eat("}") {
            self.next_id(PackedId::PREFIX, packed.len())?;
            let name = self.cursor.string()?;
            let (bytes, offset) = self.extent_in_region()?;
            let content = self.content()?;
            packed.push(Packed { name, content, offset, bytes });
        }
        Ok((size, packed))
    }

    fn content(&mut self) -> Result<PackedContent, ParseError> {
        if self.cursor.eat_word("matrix") {
            let layout = self.layout()?;
            let k = self.after("k")?;
            self.cursor.expect_word("rows")?;
            return Ok(PackedContent::Matrix { layout, k, rows: self.rows()? });
        }
        if self.cursor.eat_word("vector") {
            let weight = self.weight()?;
            return Ok(PackedContent::Vector { weight, len: self.after("len")?, plus: self.plus()? });
        }
        if self.cursor.eat_word("gather") {
            return Ok(PackedContent::Gather { elems: self.rows()?, plus: self.plus()? });
        }
        if !self.cursor.eat_word("rope") {
            return Err(self.cursor.unexpected("`matrix`, `vector`, `gather` or `rope`"));
        }
        let (heads, head_dim, rotary_dim) = (self.after("heads")?, self.after("head_dim")?, self.after("rotary_dim")?);
        self.cursor.expect_word("theta")?;
        let theta = self.cursor.f32()?;
        self.cursor.expect_word("scaling")?;
        let scaling = read_scaling(self.cursor)?;
        let attrs = RopeAttrs { heads, head_dim, rotary_dim, theta, scaling };
        Ok(PackedContent::Rope { attrs, ctx: self.after("ctx")?, width: self.after("width")? })
    }

    fn layout(&mut self) -> Result<MatrixLayout, ParseError> {
        let Some(dtype) = DType::parse(self.cursor.peek_text()).filter(|_| self.cursor.peek().kind == TokenKind::Ident) else {
            return Err(self.cursor.unexpected("a format such as `q4g32` or `f32`"));
        };
        self.cursor.advance();
        let span = self.cursor.span();
        let lanes = self.after("lanes")?;
        let step = self.after("k_step")?;
        let offset = self.after("q8_offset")?;
        match (u16::try_from(lanes), step, u8::try_from(offset)) {
            (Ok(lanes), 4 | 8, Ok(q8_offset)) => Ok(MatrixLayout { dtype, lanes, k_step: step as u8, q8_offset }),
            _ => Err(self.other(span, format!("lanes {lanes}, k_step {step}, q8_offset {offset}; expected at most 65535, 4 or 8, at most 255"))),
        }
    }

    /// `plus 0x1p0`, or nothing.
    fn plus(&mut self) -> Result<f32, ParseError> {
        if self.cursor.eat_word("plus") { self.cursor.f32() } else { Ok(0.0) }
    }

    fn weight(&mut self) -> Result<WeightId, ParseError> {
        Ok(WeightId::new(self.cursor.id(WeightId::PREFIX)? as usize))
    }

    /// `w3[8..16]`: weight, first row and number of rows, of which `room` are left.
    fn run(&mut self, room: usize) -> Result<(WeightId, u32, u32), ParseError> {
        let span = self.cursor.span();
        let weight = self.weight()?;
        self.cursor.expect("[")?;
        let first = self.cursor.u32()?;
        self.cursor.expect("..")?;
        let end = self.cursor.u64()?;
        self.cursor.expect("]")?;
        // The end of the last possible run is 2^32.
        let count = end.checked_sub(u64::from(first)).filter(|_| end <= 1 << 32).and_then(|n| u32::try_from(n).ok());
        match count {
            Some(n) if n as usize <= room => Ok((weight, first, n)),
            Some(_) => Err(self.other(span, format!("more than {MOST_ROWS} rows in one section"))),
            None => Err(self.other(span, format!("rows {first}..{end}; expected first <= end <= 2^32"))),
        }
    }

    fn rows(&mut self) -> Result<Vec<Row>, ParseError> {
        let mut rows: Vec<Row> = Vec::new();
        self.cursor.expect("[")?;
        while !self.cursor.eat("]") {
            let (room, span) = (MOST_ROWS - rows.len(), self.cursor.span());
            if self.cursor.eat_word("zero") {
                let n = self.cursor.u32()? as usize;
                if n > room {
                    return Err(self.other(span, format!("more than {MOST_ROWS} rows in one section")));
                }
                rows.resize(rows.len() + n, None);
            } else if self.cursor.eat_word("zip") {
                self.cursor.expect("(")?;
                let a = self.run(room / 2)?;
                self.cursor.expect(",")?;
                let b = self.run(room / 2)?;
                self.cursor.expect(")")?;
                if a.2 != b.2 {
                    return Err(self.other(span, format!("runs of {} and {} rows; `zip` takes equal ones", a.2, b.2)));
                }
                rows.extend((0..a.2).flat_map(|i| [Some((a.0, a.1 + i)), Some((b.0, b.1 + i))]));
            } else {
                let (weight, first, n) = self.run(room)?;
                rows.extend((0..n).map(|i| Some((weight, first + i))));
            }
            if !self.cursor.eat(",") && !self.cursor.at("]") {
                return Err(self.cursor.unexpected("`,` or `]` after a run of rows"));
            }
        }
        Ok(rows)
    }

    fn list(&mut self, name: &str) -> Result<Vec<Dispatch>, ParseError> {
        self.cursor.expect_word(name)?;
        self.cursor.expect("{")?;
        let mut out = Vec::new();
        while !self.cursor.eat("}") {
            out.push(self.dispatch()?);
        }
        Ok(out)
    }

    fn kernel(&mut self) -> Result<KernelId, ParseError> {
        let span = self.cursor.span();
        let name = self.cursor.name()?;
        let found = self.kernels.kernels.iter().find(|(_, k)| k.name == name).map(|(id, _)| id);
        found.ok_or_else(|| self.cursor.error_at(span, ParseErrorKind::Undefined(format!("kernel @{name}"))))
    }

    fn dispatch(&mut self) -> Result<Dispatch, ParseError> {
        let kernel = self.kernel()?;
        let mut bindings = Vec::new();
        self.cursor.expect("(")?;
        while !self.cursor.eat(")") {
            bindings.push(if self.cursor.at_id(ArenaId::PREFIX) {
                Binding::Arena(ArenaId::new(self.cursor.id(ArenaId::PREFIX)? as usize))
            } else if self.cursor.at_id(PackedId::PREFIX) {
                Binding::Packed(PackedId::new(self.cursor.id(PackedId::PREFIX)? as usize))
            } else if self.cursor.at_id("kv") {
                Binding::Kv(self.cursor.id("kv")?)
            } else {
                return Err(self.cursor.unexpected("a binding such as `a0`, `p0` or `kv0`"));
            });
            if !self.cursor.eat(",") && !self.cursor.at(")") {
                return Err(self.cursor.unexpected("`,` or `)` after a binding"));
            }
        }
        self.cursor.expect_word("grid")?;
        self.cursor.expect("[")?;
        let x = self.extent()?;
        self.cursor.expect(",")?;
        let y = self.extent()?;
        self.cursor.expect(",")?;
        let z = self.extent()?;
        self.cursor.expect("]")?;
        let beside = self.cursor.eat_word("beside");
        Ok(Dispatch { kernel, bindings, grid: [x, y, z], beside })
    }

    /// `4`, or `2 * t + p + 3 / 4 max 9` with any of the three terms.
    fn extent(&mut self) -> Result<Extent, ParseError> {
        let mut e = Extent { a: 0, b: 0, c: 0, d: 1, max: 0 };
        loop {
            let span = self.cursor.span();
            let number = if self.cursor.peek().kind == TokenKind::Number { Some(self.cursor.u32()?) } else { None };
            let symbol = number.is_none() || self.cursor.eat("*");
            let place = match (symbol, self.cursor.peek_text()) {
                (true, "t") => &mut e.a,
                (true, "p") => &mut e.b,
                (true, _) => return Err(self.cursor.unexpected("`t`, `p` or a number")),
                (false, _) => &mut e.c,
            };
            if *place != 0 {
                return Err(self.other(span, "a term of one kind stands twice; add them up".into()));
            }
            *place = number.unwrap_or(1);
            if symbol {
                self.cursor.advance();
            }
            if !self.cursor.eat("+") {
                break;
            }
        }
        if e.a == 0 && e.b == 0 && !self.cursor.at("/") {
            return Ok(Extent::fixed(e.c));
        }
        self.cursor.expect("/")?;
        e.d = self.cursor.u32()?;
        e.max = self.after("max")?;
        Ok(e)
    }
}

//! Makes ids of the numbers in a kernel's text: the n-th least number of a kind becomes id n.

use std::collections::BTreeMap;

use super::expr::Operand;
use super::stmt::Stmt;
use super::ty::Type;
use super::{BufId, Buffer, Def, Value, ValueId, VarId};
use crate::arena::Id;
use crate::diag::{ParseError, ParseErrorKind, Span};
use crate::text::Cursor;

/// The uses of ids in a kernel's text.
#[derive(Debug, Default)]
pub(super) struct Ids {
    values: Vec<(u32, Span)>,
    vars: Vec<(u32, Span)>,
    buffers: Vec<(u32, Span)>,
}

/// Ranks of the defined numbers.
struct Ranks {
    values: BTreeMap<u32, usize>,
    vars: BTreeMap<u32, usize>,
    buffers: BTreeMap<u32, usize>,
}

fn ranks<T>(defined: &BTreeMap<u32, T>) -> BTreeMap<u32, usize> {
    defined.keys().enumerate().map(|(rank, number)| (*number, rank)).collect()
}

impl Ids {
    pub(super) fn use_value(&mut self, number: u32, span: Span) {
        self.values.push((number, span));
    }
    pub(super) fn use_var(&mut self, number: u32, span: Span) {
        self.vars.push((number, span));
    }
    pub(super) fn use_buffer(&mut self, number: u32, span: Span) {
        self.buffers.push((number, span));
    }

    /// Checks that what is used is defined, and replaces numbers by ranks in definitions and statements.
    pub(super) fn resolve(
        self,
        cursor: &Cursor<'_>,
        buffers: &BTreeMap<u32, Buffer>,
        vars: &BTreeMap<u32, Type>,
        values: &mut BTreeMap<u32, Value>,
        body: &mut [Stmt],
    ) -> Result<(), ParseError> {
        let ranks = Ranks { values: ranks(values), vars: ranks(vars), buffers: ranks(buffers) };
        let undefined = [(&self.values, &ranks.values), (&self.vars, &ranks.vars), (&self.buffers, &ranks.buffers)]
            .into_iter()
            .flat_map(|(uses, ranks)| uses.iter().filter(|(number, _)| !ranks.contains_key(number)))
            .map(|(_, span)| *span)
            .min_by_key(|span| span.start);
        if let Some(span) = undefined {
            return Err(cursor.error_at(span, ParseErrorKind::Undefined(cursor.text_of(span).to_string())));
        }
        for value in values.values_mut() {
            if let Def::Expr(expr) = &mut value.def {
                expr.map_operands(|o| ranks.operand(o));
            }
        }
        ranks.block(body);
        Ok(())
    }
}

fn rank<I: Id>(id: &mut I, ranks: &BTreeMap<u32, usize>) {
    let found = u32::try_from(id.index()).ok().and_then(|n| ranks.get(&n));
    *id = I::new(*found.expect("invariant: every id that is used is defined"));
}

impl Ranks {
    fn value(&self, v: &mut ValueId) {
        rank(v, &self.values);
    }
    fn var(&self, x: &mut VarId) {
        rank(x, &self.vars);
    }
    fn buffer(&self, b: &mut BufId) {
        rank(b, &self.buffers);
    }
    fn operand(&self, operand: &mut Operand) {
        if let Operand::Value(v) = operand {
            self.value(v);
        }
    }

    fn block(&self, stmts: &mut [Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::Let(v) => self.value(v),
                Stmt::Load { dst, buf, index } => {
                    self.value(dst);
                    self.buffer(buf);
                    self.operand(index);
                }
                Stmt::Store { buf, index, value } => {
                    self.buffer(buf);
                    self.operand(index);
                    self.operand(value);
                }
                Stmt::Prefetch { buf, index } => {
                    self.buffer(buf);
                    self.operand(index);
                }
                Stmt::Var { var, init: value } | Stmt::Set { var, value } => {
                    self.var(var);
                    self.operand(value);
                }
                Stmt::Get { dst, var } => {
                    self.value(dst);
                    self.var(var);
                }
                Stmt::For { iv, start, end, body, .. } => {
                    self.value(iv);
                    self.operand(start);
                    self.operand(end);
                    self.block(body);
                }
                Stmt::If { cond, then, otherwise } => {
                    self.operand(cond);
                    self.block(then);
                    self.block(otherwise);
                }
                Stmt::Subgroup { dst, value, .. } => {
                    self.value(dst);
                    self.operand(value);
                }
                Stmt::Barrier => {}
            }
        }
    }
}

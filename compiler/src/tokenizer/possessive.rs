//! Possessive repetitions (`x++`, `x?+`, `x*+`) as greedy ones, where both match the same.
//!
//! A backtracking engine never gives back what a possessive repetition took. In an alternative of the whole pattern that makes no
//! difference if what follows can match nothing, since the first way through is then taken anyway, or if what follows begins with no
//! character that the repetition takes. `regex-syntax` reads the second sign as another repetition, so it is found in its syntax tree.

use regex_syntax::ast::{Ast, RepetitionKind, RepetitionOp, parse};
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, translate};

/// The pattern as a regular expression; the error says what is not supported.
pub(super) fn parse(pattern: &str) -> Result<Hir, String> {
    let mut ast = parse::Parser::new().parse(pattern).map_err(|error| error.kind().to_string())?;
    if doubled(&ast) {
        if flagged(&ast) {
            return Err("possessive repetition with flags for the rest of the pattern".to_owned());
        }
        match &mut ast {
            Ast::Alternation(alternation) => alternation.asts.iter_mut().try_for_each(|ast| alternative(ast, pattern))?,
            single => alternative(single, pattern)?,
        }
        if doubled(&ast) {
            return Err("possessive repetition inside a group".to_owned());
        }
    }
    translated(&ast, pattern)
}

fn translated(ast: &Ast, pattern: &str) -> Result<Hir, String> {
    translate::Translator::new().translate(pattern, ast).map_err(|error| error.kind().to_string())
}

/// Makes the possessive repetitions of one alternative of the whole pattern greedy.
fn alternative(ast: &mut Ast, pattern: &str) -> Result<(), String> {
    let parts = match ast {
        Ast::Concat(concat) => concat.asts.as_mut_slice(),
        single => std::slice::from_mut(single),
    };
    for i in 0..parts.len() {
        let (before, after) = parts.split_at_mut(i + 1);
        let Some(part) = before.last_mut() else { continue };
        let Some(greedy) = greedy_part(part)? else { continue };
        if !may_be_greedy(&translated(&greedy, pattern)?, after, pattern)? {
            return Err("possessive repetition before what it may take".to_owned());
        }
        *part = greedy;
    }
    Ok(())
}

/// The repetition under a possessive sign, `None` when there is none.
fn greedy_part(part: &Ast) -> Result<Option<Ast>, String> {
    let Ast::Repetition(outer) = part else { return Ok(None) };
    let (RepetitionKind::OneOrMore, Ast::Repetition(inner)) = (&outer.op.kind, outer.ast.as_ref()) else { return Ok(None) };
    match inner.op {
        RepetitionOp { kind: RepetitionKind::Range(_), .. } => Err("a repetition of a counted one, which engines read differently".to_owned()),
        _ if !inner.greedy || !outer.greedy => Err("a repetition of a lazy one".to_owned()),
        _ => Ok(Some(Ast::Repetition(inner.clone()))),
    }
}

/// True when a greedy repetition before `after` matches as the possessive one.
fn may_be_greedy(repetition: &Hir, after: &[Ast], pattern: &str) -> Result<bool, String> {
    let mut firsts = ClassUnicode::empty();
    for part in after {
        let part = match greedy_part(part)? {
            Some(greedy) => translated(&greedy, pattern)?,
            None => translated(part, pattern)?,
        };
        if !add_firsts(&part, &mut firsts) {
            let mut taken = every_character(repetition).ok_or("possessive repetition of more than a character")?;
            taken.intersect(&firsts);
            return Ok(taken.ranges().is_empty());
        }
    }
    Ok(true)
}

/// Adds the characters that a match may begin with; true when the match may be empty.
fn add_firsts(hir: &Hir, firsts: &mut ClassUnicode) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => {
            let first = String::from_utf8_lossy(&literal.0).chars().next();
            firsts.union(&ClassUnicode::new(first.map(|c| ClassUnicodeRange::new(c, c))));
            first.is_none()
        }
        HirKind::Class(Class::Unicode(class)) => {
            firsts.union(class);
            false
        }
        HirKind::Class(Class::Bytes(_)) => {
            firsts.union(&ClassUnicode::new([ClassUnicodeRange::new('\0', char::MAX)]));
            false
        }
        HirKind::Repetition(repetition) => add_firsts(&repetition.sub, firsts) || repetition.min == 0,
        HirKind::Capture(capture) => add_firsts(&capture.sub, firsts),
        HirKind::Concat(parts) => parts.iter().all(|part| add_firsts(part, firsts)),
        HirKind::Alternation(parts) => parts.iter().filter(|part| add_firsts(part, firsts)).count() > 0,
    }
}

/// The characters of a repetition of one set of characters.
fn every_character(repetition: &Hir) -> Option<ClassUnicode> {
    let HirKind::Repetition(repetition) = repetition.kind() else { return None };
    match repetition.sub.kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class.clone()),
        HirKind::Literal(literal) => {
            let text = String::from_utf8_lossy(&literal.0);
            let mut chars = text.chars();
            let c = chars.next()?;
            chars.next().is_none().then(|| ClassUnicode::new([ClassUnicodeRange::new(c, c)]))
        }
        _ => None,
    }
}

/// True when there is a repetition of a repetition.
fn doubled(ast: &Ast) -> bool {
    match ast {
        Ast::Repetition(repetition) => matches!(*repetition.ast, Ast::Repetition(_)) || doubled(&repetition.ast),
        Ast::Group(group) => doubled(&group.ast),
        Ast::Alternation(alternation) => alternation.asts.iter().any(doubled),
        Ast::Concat(concat) => concat.asts.iter().any(doubled),
        Ast::Empty(_) | Ast::Flags(_) | Ast::Literal(_) | Ast::Dot(_) | Ast::Assertion(_) => false,
        Ast::ClassUnicode(_) | Ast::ClassPerl(_) | Ast::ClassBracketed(_) => false,
    }
}

/// True when flags are set outside of groups: a part translated alone would lack them.
fn flagged(ast: &Ast) -> bool {
    match ast {
        Ast::Alternation(alternation) => alternation.asts.iter().any(flagged),
        Ast::Concat(concat) => concat.asts.iter().any(flagged),
        other => matches!(other, Ast::Flags(_)),
    }
}

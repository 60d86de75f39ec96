//! What every source file keeps to.

use crate::{no_breach, texts};

/// A file has no more lines than this.
const MOST_LINES: usize = 800;

/// From here on a file is pointed out, while splitting it is still easy.
const MANY_LINES: usize = 600;

/// Tables may be longer; each with its reason.
const TABLES: [(&str, &str); 0] = [];

/// Names that say nothing about the duty of a file.
const BANNED_NAMES: [&str; 5] = ["utils", "helpers", "common", "misc", "util"];

#[test]
fn files_are_short_and_named_by_their_duty() {
    let mut breaches = Vec::new();
    for (path, text) in texts(&[".rs"]) {
        let lines = text.lines().count();
        let is_table = TABLES.iter().any(|(table, _)| *table == path);
        if lines > MOST_LINES && !is_table {
            breaches.push(format!("{path}: {lines} lines, at most {MOST_LINES}: split it by duty"));
        } else if lines > MANY_LINES && !is_table {
            println!("warning: {path}: {lines} lines; past {MOST_LINES} this fails, split it by duty");
        }
        let name = path.rsplit('/').next().unwrap_or(&path).trim_end_matches(".rs");
        if BANNED_NAMES.contains(&name) || path.split('/').any(|part| BANNED_NAMES.contains(&part)) {
            breaches.push(format!("{path}: name it by what it owns"));
        }
    }
    no_breach("length and name of files", breaches);
}

#[test]
fn files_open_with_their_contract() {
    // A package may open with its README instead.
    let opens = |text: &str| text.starts_with("//!") || text.starts_with("#![doc = include_str!(");
    let breaches = texts(&[".rs"]).into_iter().filter(|(_, text)| !opens(text));
    no_breach("a file opens with `//!`: its contract and the non-obvious why", breaches.map(|(path, _)| path).collect());
}

#[test]
fn nothing_depends_on_hash_order() {
    // Split so that this file keeps to its own rule.
    let banned = [concat!("Hash", "Map"), concat!("Hash", "Set")];
    let mut breaches = Vec::new();
    for (path, text) in texts(&[".rs"]) {
        for (i, line) in text.lines().enumerate() {
            if !line.trim_start().starts_with("//") && banned.iter().any(|b| line.contains(b)) {
                breaches.push(format!("{path}:{}: {}", i + 1, line.trim()));
            }
        }
    }
    no_breach("ordered maps and sets only: the same input gives the same bytes", breaches);
}

#[test]
fn nothing_knows_the_machine_it_was_written_on() {
    let banned = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("../sha", "red/")];
    // A bare prefix names no machine; what follows it would.
    let names_one = |line: &str, prefix: &str| {
        let mut found = line.split(prefix).skip(1);
        found.any(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
    };
    let mut breaches = Vec::new();
    for (path, text) in texts(&[".rs", ".md", ".toml", ".slmir", "Makefile", ".sh", ".py", ".h", ".c"]) {
        for (i, line) in text.lines().enumerate() {
            if banned.iter().any(|b| names_one(line, b)) {
                breaches.push(format!("{path}:{}: {}", i + 1, line.trim()));
            }
        }
    }
    no_breach("no path of a machine", breaches);
}

#[test]
fn nothing_is_left_for_later() {
    let banned = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimplemented", "!(")];
    let mut breaches = Vec::new();
    for (path, text) in texts(&[".rs"]) {
        for (i, line) in text.lines().enumerate() {
            if banned.iter().any(|b| line.contains(b)) {
                breaches.push(format!("{path}:{}: {}", i + 1, line.trim()));
            }
        }
    }
    no_breach("what is there is done", breaches);
}

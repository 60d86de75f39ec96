//! Options of a pass in text form: `quantize{body=q4g32,keep='.*down.*=q8g32'}`.
//!
//! A value is a bare word or stands in single quotes, where everything but a single quote is itself. A key may be repeated
//! where the pass says so. Reading collects every fault before it gives up, so that a command line is mended in one go.

use std::fmt;

use slmc_ir::graph::DType;

/// The options given to one pass, in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    entries: Vec<(String, String)>,
}

/// Everything that is wrong with the options of one pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pass `{pass}`: {}", .faults.join("; "))]
pub struct OptionError {
    /// The pass.
    pub pass: String,
    /// One sentence each, never empty.
    pub faults: Vec<String>,
}

impl Options {
    /// No options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `key=value` behind the others.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.entries.push((key.into(), value.into()));
        self
    }

    /// Parses what stands between the braces. An error says in words what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut options = Self::new();
        if text.trim().is_empty() {
            return Ok(options);
        }
        for entry in split_top_level(text)? {
            let Some((key, value)) = entry.split_once('=') else {
                return Err(format!("expected `key=value`, found `{}`", entry.trim()));
            };
            let (key, value) = (key.trim(), value.trim());
            if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
                return Err(format!("`{key}` is not an option name; expected letters, digits, `_` or `-`"));
            }
            let value = match value.strip_prefix('\'') {
                Some(rest) => match rest.strip_suffix('\'') {
                    Some(inner) if !inner.contains('\'') => inner,
                    _ => return Err(format!("the value of `{key}` has text behind its closing quote: {value}")),
                },
                None => value,
            };
            options = options.with(key, value);
        }
        Ok(options)
    }

    /// Whether none are given.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reads these options for `pass`; ask for each option once, then call [`OptionReader::finish`].
    pub fn reader<'a>(&'a self, pass: &'a str) -> OptionReader<'a> {
        OptionReader { pass, options: self, known: Vec::new(), faults: Vec::new() }
    }
}

impl fmt::Display for Options {
    /// The text form with braces; nothing if there are no options.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.entries.is_empty() {
            return Ok(());
        }
        f.write_str("{")?;
        for (i, (key, value)) in self.entries.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            let bare = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+'));
            if bare { write!(f, "{key}={value}")? } else { write!(f, "{key}='{value}'")? }
        }
        f.write_str("}")
    }
}

/// Reads [`Options`] and collects what is wrong with them.
#[derive(Debug)]
pub struct OptionReader<'a> {
    pass: &'a str,
    options: &'a Options,
    known: Vec<&'a str>,
    faults: Vec<String>,
}

impl<'a> OptionReader<'a> {
    /// All values given for `key`.
    pub fn all(&mut self, key: &'a str) -> Vec<&'a str> {
        self.known.push(key);
        self.options.entries.iter().filter(|(k, _)| k == key).map(|(_, v)| v.as_str()).collect()
    }

    /// The value given for `key`, which may stand once.
    pub fn one(&mut self, key: &'a str) -> Option<&'a str> {
        let values = self.all(key);
        if values.len() > 1 {
            self.faults.push(format!("`{key}` is given {} times; give it once", values.len()));
        }
        values.first().copied()
    }

    /// The format given for `key`, one of `allowed`.
    pub fn dtype(&mut self, key: &'a str, allowed: &[DType]) -> Option<DType> {
        let value = self.one(key)?;
        self.dtype_value(key, value, allowed)
    }

    /// The format that `value` names, one of `allowed`; a fault of `key` otherwise.
    pub fn dtype_value(&mut self, key: &str, value: &str, allowed: &[DType]) -> Option<DType> {
        let found = DType::parse(value).filter(|d| allowed.contains(d));
        if found.is_none() {
            let names: Vec<String> = allowed.iter().map(DType::to_string).collect();
            self.faults.push(format!("`{key}` is `{value}`; expected one of {}", names.join(", ")));
        }
        found
    }

    /// Notes a fault that the pass found by itself.
    pub fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// Gives `made` if nothing was wrong. An option that was never asked for is a fault.
    pub fn finish<T>(mut self, made: T) -> Result<T, OptionError> {
        for (key, _) in &self.options.entries {
            if !self.known.contains(&key.as_str()) {
                let known = if self.known.is_empty() { "it takes none".to_owned() } else { format!("it takes {}", self.known.join(", ")) };
                self.faults.push(format!("unknown option `{key}`; {known}"));
            }
        }
        if self.faults.is_empty() { Ok(made) } else { Err(OptionError { pass: self.pass.to_owned(), faults: self.faults }) }
    }
}

/// Splits at commas that stand neither in braces nor in quotes. Errors name what is left open.
pub(super) fn split_top_level(text: &str) -> Result<Vec<&str>, String> {
    let mut parts = Vec::new();
    let (mut depth, mut quoted, mut start) = (0usize, false, 0usize);
    for (i, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            _ if quoted => {}
            '{' => depth += 1,
            '}' => depth = depth.checked_sub(1).ok_or_else(|| format!("`}}` without `{{` in `{text}`"))?,
            ',' if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    if quoted {
        return Err(format!("a single quote is left open in `{text}`"));
    }
    if depth > 0 {
        return Err(format!("`{{` is left open in `{text}`"));
    }
    parts.push(&text[start..]);
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        for text in ["{body=q4g32}", "{body=q4g32,keep='a.*,b{2}=q8g32',keep='x=f16'}", ""] {
            let inner = text.trim_start_matches('{').strip_suffix('}').unwrap_or("");
            assert_eq!(Options::parse(inner).map(|o| o.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn faults_are_told_together() {
        let options = Options::parse("body=q5,bod=1,body=q4g32").expect("well formed");
        let mut r = options.reader("quantize");
        r.dtype("body", &[DType::Q8]);
        let e = r.finish(()).expect_err("three faults");
        assert_eq!(e.faults.len(), 3, "{e}");
        assert_eq!(
            e.to_string(),
            "pass `quantize`: `body` is given 2 times; give it once; `body` is `q5`; expected one of q8g32; unknown option `bod`; it takes body"
        );
    }

    #[test]
    fn syntax_errors_are_named() {
        assert!(Options::parse("body").is_err_and(|e| e.contains("expected `key=value`")));
        assert!(Options::parse("a='x").is_err_and(|e| e.contains("left open")));
        assert!(Options::parse("a='x'y").is_err_and(|e| e.contains("behind its closing quote")));
        assert!(Options::parse("a b=1").is_err_and(|e| e.contains("not an option name")));
    }
}

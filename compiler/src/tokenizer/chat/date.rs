//! The date that a template may ask for.

use std::fmt;
use std::str::FromStr;

use minijinja::{Error, ErrorKind};

/// A calendar date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// Year.
    pub year: u16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, 1 to 31.
    pub day: u8,
}

const MONTHS: [&str; 12] = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

impl Date {
    /// Formats as C's `strftime` does; only `%Y %m %d %b %B %y %%` are known.
    pub(super) fn format(self, pattern: &str) -> Result<String, Error> {
        let month = MONTHS.get(usize::from(self.month).wrapping_sub(1)).copied().unwrap_or("?");
        let mut text = String::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            match chars.next() {
                Some('Y') => text += &self.year.to_string(),
                Some('y') => text += &format!("{:02}", self.year % 100),
                Some('m') => text += &format!("{:02}", self.month),
                Some('d') => text += &format!("{:02}", self.day),
                Some('b') => text += &month[..month.len().min(3)],
                Some('B') => text += month,
                Some('%') => text.push('%'),
                other => {
                    let message = format!("strftime_now: only dates are supported, found %{}", other.unwrap_or(' '));
                    return Err(Error::new(ErrorKind::InvalidOperation, message));
                }
            }
        }
        Ok(text)
    }
}

impl FromStr for Date {
    type Err = String;

    /// `YYYY-MM-DD`.
    fn from_str(text: &str) -> Result<Date, String> {
        let date = || {
            let mut parts = text.split('-');
            let mut part = |digits: usize| parts.next().filter(|p| p.len() == digits && p.bytes().all(|b| b.is_ascii_digit()));
            let (year, month, day) = (part(4)?.parse().ok()?, part(2)?.parse().ok()?, part(2)?.parse().ok()?);
            (parts.next().is_none() && (1..=12).contains(&month) && (1..=31).contains(&day)).then_some(Date { year, month, day })
        };
        date().ok_or_else(|| "expected a date as YYYY-MM-DD".to_owned())
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

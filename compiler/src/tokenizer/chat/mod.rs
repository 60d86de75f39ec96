//! The chat template as a table of literal pieces.
//!
//! [`probe`] renders the template with the real engine over all role sequences, [`fit`] finds what the text between two messages depends on
//! and proves the table by rendering everything again, and [`literal`] cuts the pieces at special tokens. A template that no table
//! describes leaves the model without chat, with the reason.

mod date;
mod environment;
mod fit;
mod literal;
mod probe;

use super::added::AddedToken;
use super::compile::TokenizerOptions;
use super::files::Folder;
use super::sections::Sections;

pub use date::Date;

/// Whether a model can be prompted with chats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatSupport {
    /// Yes. The notes say where an answer may differ from the template's own.
    Compiled {
        /// What the table does not reproduce.
        notes: Vec<String>,
    },
    /// The folder has no template.
    NoTemplate,
    /// The template cannot be a table.
    Unfit {
        /// Why, and for which roles.
        reason: String,
    },
}

/// Fills the prompt sections and returns the support and the features that the table's keys use.
pub(super) fn write(folder: &Folder, tokens: &[AddedToken], options: &TokenizerOptions, sections: &mut Sections) -> (ChatSupport, u32) {
    let Some(source) = &folder.template else { return (ChatSupport::NoTemplate, 0) };
    match table(source, folder, tokens, options) {
        Ok((table, ops)) => {
            literal::write(&table, &ops, sections);
            (ChatSupport::Compiled { notes: table.notes }, table.features)
        }
        Err(reason) => (ChatSupport::Unfit { reason }, 0),
    }
}

fn table(source: &str, folder: &Folder, tokens: &[AddedToken], options: &TokenizerOptions) -> Result<(fit::Table, Vec<Vec<literal::Op>>), String> {
    let template = environment::Template::new(source, &folder.named_tokens, options)?;
    let dateless = options.today.is_none() && source.contains("strftime_now");
    let hint = |reason: String| if dateless { format!("{reason}; the template asks for the date, which --date gives") } else { reason };
    let table = fit::fit(&template, &probe::probe(&template)).map_err(hint)?;
    let ops = table.pieces.iter().map(|piece| literal::ops(&piece.literal, tokens)).collect::<Result<_, _>>()?;
    Ok((table, ops))
}

//! The template engine set up as Hugging Face transformers sets up Jinja: block trimming, Python methods, `raise_exception`, JSON without
//! HTML escapes, `{% generation %}` blocks, and a clock only if the caller gives a date.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind};
use regex::Regex;

use crate::tokenizer::compile::TokenizerOptions;

/// A message of a conversation: role and content.
pub(super) type Turn<'c> = (&'static str, &'c str);

/// A chat template ready to be rendered.
pub(super) struct Template {
    environment: Environment<'static>,
    named_tokens: BTreeMap<String, String>,
    values: BTreeMap<String, Value>,
}

const NAME: &str = "chat_template";

/// Instructions of the engine for one conversation. Published templates take a few hundred a message; one that loops on and on must not
/// stop a compile.
const FUEL: u64 = 100_000;

impl Template {
    /// Parses the template; the error is the engine's.
    pub fn new(source: &str, named_tokens: &BTreeMap<String, String>, options: &TokenizerOptions) -> Result<Template, String> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(|error| message(&error))?;
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment
            .add_function("raise_exception", |message: String| -> Result<Value, Error> { Err(Error::new(ErrorKind::InvalidOperation, message)) });
        if let Some(today) = options.today {
            environment.add_function("strftime_now", move |pattern: String| today.format(&pattern));
        }
        environment.add_filter("tojson", to_json);
        let block = Regex::new(r"\{%(-?)\s*(end)?generation\s*(-?)%\}").expect("invariant: the expression is sound");
        let plain = block.replace_all(source, |found: &regex::Captures<'_>| {
            let word = if found.get(2).is_some() { "endif" } else { "if true" };
            format!("{{%{} {word} {}%}}", &found[1], &found[3])
        });
        environment.add_template_owned(NAME, plain.into_owned()).map_err(|error| format!("the template does not parse: {}", message(&error)))?;
        let value = |(name, json): (&String, &serde_json::Value)| {
            let value = serde_json::from_value(json.clone()).map_err(|error| format!("template value {name}: {error}"))?;
            Ok((name.clone(), value))
        };
        let values = options.template_values.iter().map(value).collect::<Result<_, String>>()?;
        Ok(Template { environment, named_tokens: named_tokens.clone(), values })
    }

    /// Renders a conversation; the error is what the template raised.
    pub fn render(&self, turns: &[Turn<'_>], generate: bool) -> Result<String, String> {
        let turn = |&(role, content): &Turn<'_>| Value::from_pairs([("role", Value::from(role)), ("content", Value::from(content))]);
        let messages: Vec<Value> = turns.iter().map(turn).collect();
        let named = self.named_tokens.iter().map(|(name, content)| (name.as_str(), Value::from(content.as_str())));
        let context = named.chain([
            ("messages", Value::from(messages)),
            ("add_generation_prompt", Value::from(generate)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
        ]);
        let context = context.chain(self.values.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let template = self.environment.get_template(NAME).map_err(|error| message(&error))?;
        template.render(Value::from_pairs(context)).map_err(|error| message(&error))
    }
}

/// The engine's message with its place in the template.
fn message(error: &Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    error.line().map_or_else(|| what.clone(), |line| format!("{what} (line {line})"))
}

/// `tojson` without HTML escapes; `indent` as in Python's `json.dumps`.
fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let failed = |error: serde_json::Error| Error::new(ErrorKind::BadSerialization, error.to_string());
    if let Some(width) = indent {
        let spaces = " ".repeat(width);
        let mut bytes = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
        serde::Serialize::serialize(value, &mut serde_json::Serializer::with_formatter(&mut bytes, formatter)).map_err(failed)?;
        return String::from_utf8(bytes).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()));
    }
    let mut bytes = Vec::new();
    serde::Serialize::serialize(value, &mut serde_json::Serializer::with_formatter(&mut bytes, Spaced)).map_err(failed)?;
    String::from_utf8(bytes).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

/// JSON on one line with a space after each colon and comma, as Python writes it.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

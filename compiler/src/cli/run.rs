//! `slmc run`: an answer of a bundle. The answer alone goes to standard output.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::PathBuf;

use serde::Serialize;
use slmc::engine::{End, GenerateOptions, GeneratedInfo, NO_TOKEN, TokenizeOptions};

use super::device::DeviceArgs;
use super::opened::Opened;
use super::{input, sampling};
use crate::report::{Failure, note, put, say, say_json};

/// Arguments of `slmc run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle
    bundle: PathBuf,
    /// Answer a chat: a JSON file with [{"role": …, "content": …}, …], or `-` for standard input
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["prompt", "tokens"])]
    messages: Option<PathBuf>,
    /// Answer one message
    #[arg(short, long, value_name = "TEXT", conflicts_with = "tokens")]
    prompt: Option<String>,
    /// Continue the prompt as it is, without the chat template
    #[arg(long)]
    raw: bool,
    /// Continue token ids: a JSON file with [1, 15, 7], or `-` for standard input
    #[arg(long, value_name = "FILE.json")]
    tokens: Option<PathBuf>,
    /// A system message before the prompt or the chat
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["messages", "tokens", "raw"])]
    system: Option<String>,
    #[command(flatten)]
    sampling: sampling::SamplingArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// No timings on standard error
    #[arg(short, long)]
    quiet: bool,
    /// Prompt ids, answer ids (with the token that ended the answer), answer and timings as JSON on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct AnswerJson<'a> {
    prompt_ids: &'a [u32],
    answer_ids: &'a [u32],
    answer: &'a str,
    end: &'static str,
    prompt_tokens: u32,
    reused_tokens: u32,
    tokens: u32,
    prefill_seconds: f64,
    decode_seconds: f64,
}

/// Runs.
pub fn run(args: &Args) -> Result<(), Failure> {
    let is_one_answer = args.messages.is_some() || args.prompt.is_some() || args.tokens.is_some();
    if args.prompt.as_deref() == Some("") && args.raw {
        return Err(Failure::new("the prompt is empty").hint("give --prompt some text"));
    }
    let chat = args.messages.as_deref().map(input::messages).transpose()?;
    let ids = args.tokens.as_deref().map(input::ids).transpose()?;
    let mut opened = Opened::open(&args.bundle, &args.device)?;
    let options = args.sampling.options();
    if !is_one_answer {
        return converse(args, &mut opened, &options);
    }
    let ids = match (ids, chat, &args.prompt) {
        (Some(ids), ..) => ids,
        (None, Some(messages), _) => {
            let chat: Vec<(&str, &str)> = messages.iter().map(|m| (m.role.as_str(), m.content.as_str())).collect();
            opened.engine.chat_prompt(&chat, true)?
        }
        (None, None, prompt) => prompt_ids(args, &mut opened, prompt.as_deref().unwrap_or_default())?,
    };
    let answer = answer(&mut opened, &ids, &options, !args.json)?;
    if args.json {
        say_json(&answer.json(&ids));
    } else if opened.engine.info().has_text == 0 {
        say(serde_json::to_string(&answer.ids).unwrap_or_default());
    } else if !answer.text.ends_with('\n') {
        say("");
    }
    if !args.quiet && !args.json {
        note(timings(&answer.info));
    }
    Ok(())
}

/// Ids of a single prompt: as a chat of one message, or raw.
fn prompt_ids(args: &Args, opened: &mut Opened, prompt: &str) -> Result<Vec<u32>, Failure> {
    if args.raw || opened.engine.info().has_chat == 0 {
        return Ok(opened.engine.tokenize(prompt, TokenizeOptions { special_as_tokens: false, frame: true })?);
    }
    let mut chat = Vec::new();
    chat.extend(args.system.as_deref().map(|system| ("system", system)));
    chat.push(("user", prompt));
    Ok(opened.engine.chat_prompt(&chat, true)?)
}

struct Answer {
    ids: Vec<u32>,
    text: String,
    info: GeneratedInfo,
}

impl Answer {
    fn json<'a>(&'a self, prompt: &'a [u32]) -> AnswerJson<'a> {
        AnswerJson {
            prompt_ids: prompt,
            answer_ids: &self.ids,
            answer: &self.text,
            end: end_name(self.info.end),
            prompt_tokens: self.info.prompt_tokens,
            reused_tokens: self.info.reused_tokens,
            tokens: self.info.tokens,
            prefill_seconds: self.info.prefill_ns as f64 / 1e9,
            decode_seconds: self.info.decode_ns as f64 / 1e9,
        }
    }
}

fn answer(opened: &mut Opened, ids: &[u32], options: &GenerateOptions, stream: bool) -> Result<Answer, Failure> {
    if ids.is_empty() {
        return Err(Failure::new("the prompt is empty").hint("give it some text"));
    }
    opened.check_room(ids.len())?;
    let (mut answer, mut text) = (Vec::new(), String::new());
    let result = opened.engine.generate(ids, options, |id, piece| {
        if id != NO_TOKEN {
            answer.push(id);
        }
        text.push_str(piece);
        if stream && !piece.is_empty() {
            put(piece);
        }
        true
    });
    match result {
        Ok(info) => {
            // The token that ended the answer is not appended to the session, but is one of the answer's ids, as in
            // Hugging Face's `generate`; a draw depends on seed and position only, so this is the same one.
            if info.end == End::EndOfText as u32 {
                answer.push(opened.engine.sample(&options.sampling)?);
            }
            Ok(Answer { ids: answer, text, info })
        }
        Err(failed) => {
            if stream && !text.is_empty() {
                say("");
            }
            Err(failed.error.into())
        }
    }
}

/// A conversation, one line a turn; only what is new of it is computed.
fn converse(args: &Args, opened: &mut Opened, options: &GenerateOptions) -> Result<(), Failure> {
    if opened.engine.info().has_text == 0 {
        return Err(Failure::new("the bundle has no tokenizer").hint("give token ids with --tokens FILE.json"));
    }
    let has_chat = opened.engine.info().has_chat != 0 && !args.raw;
    let is_terminal = io::stdin().is_terminal();
    if is_terminal && !args.quiet {
        let kind = if has_chat { "chat" } else { "no chat template: lines are continued as they are" };
        note(format_args!("{} ({kind}); /reset forgets, /exit or the end of input leaves", opened.engine.name()));
    }
    let mut chat: Vec<(String, String)> = Vec::new();
    let begin = |chat: &mut Vec<(String, String)>| {
        chat.clear();
        chat.extend(args.system.iter().map(|system| ("system".to_owned(), system.clone())));
    };
    begin(&mut chat);
    let mut lines = io::stdin().lock();
    loop {
        if is_terminal {
            put("> ");
        }
        let mut line = String::new();
        match lines.read_line(&mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(e) => return Err(Failure::new(format_args!("standard input: {e}"))),
        }
        let line = line.trim();
        match line {
            "" => continue,
            "/exit" => return Ok(()),
            "/reset" => {
                begin(&mut chat);
                continue;
            }
            _ => {}
        }
        let ids = if has_chat {
            chat.push(("user".to_owned(), line.to_owned()));
            let turns: Vec<(&str, &str)> = chat.iter().map(|(role, content)| (role.as_str(), content.as_str())).collect();
            opened.engine.chat_prompt(&turns, true).map_err(Failure::from)
        } else {
            prompt_ids(args, opened, line)
        };
        match ids.and_then(|ids| answer(opened, &ids, options, true)) {
            Ok(answer) => {
                say("");
                if !args.quiet {
                    note(timings(&answer.info));
                }
                if has_chat {
                    chat.push(("assistant".to_owned(), answer.text));
                }
            }
            Err(failure) if is_terminal => {
                failure.hint("the last message was dropped; /reset begins anew").show();
                chat.pop();
            }
            Err(failure) => return Err(failure),
        }
    }
}

fn end_name(end: u32) -> &'static str {
    const NAMES: [(End, &str); 5] = [
        (End::EndOfText, "end_of_text"),
        (End::Limit, "max_tokens"),
        (End::Stop, "stop"),
        (End::Cancelled, "cancelled"),
        (End::Receiver, "receiver"),
    ];
    NAMES.iter().find(|(known, _)| *known as u32 == end).map_or("failed", |(_, name)| name)
}

fn timings(info: &GeneratedInfo) -> String {
    let rate = |tokens: u32, ns: u64| if ns == 0 { 0.0 } else { f64::from(tokens) * 1e9 / ns as f64 };
    let fresh = info.prompt_tokens - info.reused_tokens.min(info.prompt_tokens);
    format!(
        "prompt {} tokens ({} new, {:.1} tokens/s), answer {} tokens ({:.1} tokens/s), {}",
        info.prompt_tokens,
        fresh,
        rate(fresh, info.prefill_ns),
        info.tokens,
        rate(info.tokens, info.decode_ns),
        end_name(info.end)
    )
}

//! Reading what commands are given: files or standard input, chats, token ids.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use serde::Deserialize;
use slmc::golden::{Message, ROLES};

use crate::report::Failure;

/// Text of a file, or of standard input for `-`.
pub fn text(path: &Path) -> Result<String, Failure> {
    let is_stdin = path.as_os_str() == "-";
    let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
    let mut bytes = Vec::new();
    let read = if is_stdin { io::stdin().read_to_end(&mut bytes).map(|_| ()) } else { fs::read(path).map(|read| bytes = read) };
    read.map_err(|e| Failure::new(format_args!("{name}: {e}")))?;
    String::from_utf8(bytes).map_err(|e| Failure::new(format_args!("{name}: not UTF-8 at byte {}", e.utf8_error().valid_up_to())))
}

/// A chat as JSON: an array of `{"role": …, "content": …}`, or an object with that array as `messages`.
pub fn messages(path: &Path) -> Result<Vec<Message>, Failure> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Chat {
        Bare(Vec<Message>),
        Named { messages: Vec<Message> },
    }
    let text = text(path)?;
    let bad = |detail: &str| Failure::new(format_args!("{}: {detail}", path.display()));
    let chat: Chat = serde_json::from_str(&text).map_err(|e| {
        // where the text is no JSON the parser knows the place; where it is, the shape is wrong
        let detail = match serde_json::from_str::<serde_json::Value>(&text) {
            Err(syntax) => syntax.to_string(),
            Ok(_) => e.to_string(),
        };
        bad(&detail).hint("a chat is [{\"role\": \"user\", \"content\": \"…\"}, …]")
    })?;
    let (Chat::Bare(messages) | Chat::Named { messages }) = chat;
    if messages.is_empty() {
        return Err(bad("the chat has no messages"));
    }
    let strange = messages.iter().enumerate().filter(|(_, message)| !ROLES.contains(&message.role.as_str()));
    let strange: Vec<String> = strange.map(|(i, message)| format!("message {i} has the role {:?}", message.role)).collect();
    if strange.is_empty() { Ok(messages) } else { Err(bad(&strange.join(", ")).hint(format_args!("roles are {}", ROLES.join(", ")))) }
}

/// Token ids as a JSON array.
pub fn ids(path: &Path) -> Result<Vec<u32>, Failure> {
    let bad = |detail: String| Failure::new(format_args!("{}: {detail}", path.display())).hint("token ids are a JSON array such as [1, 15, 7]");
    let ids: Vec<u32> = serde_json::from_str(&text(path)?).map_err(|e| bad(e.to_string()))?;
    if ids.is_empty() { Err(bad("no token ids".to_owned())) } else { Ok(ids) }
}

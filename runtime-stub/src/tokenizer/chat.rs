//! A chat as ids: the prompt table's literal pieces with the messages' contents between them.
//!
//! Special tokens are real only where the template's literal text has them: the compiler has cut the literals at them. Everything between
//! two of them, literal text and contents alike, is one run of text, encoded as the whole rendered string would be, except that special
//! tokens typed in a content are text.

use super::decode::append;
use super::encode::{self, EncodeError, Scratch, ScratchLen, Sink};
use super::format::{added_flag, class_flag, gap, op, trim};
use super::open::Tokenizer;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Role {
    /// `system`.
    System = 0,
    /// `user`.
    User = 1,
    /// `assistant`.
    Assistant = 2,
}

impl Role {
    /// The role of this name.
    pub fn from_name(name: &[u8]) -> Option<Role> {
        match name {
            b"system" => Some(Role::System),
            b"user" => Some(Role::User),
            b"assistant" => Some(Role::Assistant),
            _ => None,
        }
    }
}

/// One message of a chat.
#[derive(Debug, Clone, Copy)]
pub struct Message<'m> {
    /// Who speaks.
    pub role: Role,
    /// What is said, UTF-8.
    pub content: &'m [u8],
}

/// Why a chat has no prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatError {
    /// The model was compiled without a chat template.
    NoTemplate,
    /// There is no message.
    Empty,
    /// The template has no place for these roles in this order.
    Order {
        /// Index of the first message that does not fit; the number of messages when the end does not.
        message: usize,
    },
    /// A content is not UTF-8.
    NotUtf8 {
        /// Index of the message.
        message: usize,
        /// Bytes before the first bad one.
        at: usize,
    },
    /// The rendered text was not encoded.
    Encode(EncodeError),
}

impl ChatError {
    /// One line for a person.
    pub fn message(&self) -> &'static str {
        match self {
            ChatError::NoTemplate => "the model has no chat template; use a raw prompt",
            ChatError::Empty => "the chat has no messages",
            ChatError::Order { .. } => "the model's chat template does not take messages of these roles in this order",
            ChatError::NotUtf8 { .. } => "a message is not valid UTF-8",
            ChatError::Encode(error) => error.message(),
        }
    }
}

impl From<EncodeError> for ChatError {
    fn from(error: EncodeError) -> Self {
        ChatError::Encode(error)
    }
}

/// The literal text of a gap between messages.
#[derive(Clone, Copy, Default)]
struct Piece {
    /// First op.
    first: usize,
    /// Number of ops.
    count: usize,
    /// Bits of [`trim`].
    trims: u32,
}

/// The text since the last special token.
struct Run<'s> {
    text: &'s mut [u8],
    len: usize,
    /// The special token before it swallows white space.
    strip: bool,
    /// Nothing was encoded before it.
    first: bool,
}

impl<'a> Tokenizer<'a> {
    /// Scratch that suffices for [`Self::chat`] with these messages.
    pub fn chat_scratch_len(&self, messages: &[Message<'_>]) -> ScratchLen {
        let text = self.chat_text_len(messages);
        let run = self.scratch_len(text);
        ScratchLen { words: run.words, bytes: run.bytes.saturating_add(text) }
    }

    /// Encodes a chat into `out` and returns the number of ids; with `generate` the head of the assistant's answer follows the last message.
    pub fn chat(&self, messages: &[Message<'_>], generate: bool, scratch: &mut Scratch<'_>, out: &mut [u32]) -> Result<usize, ChatError> {
        if !self.has_chat() {
            return Err(ChatError::NoTemplate);
        }
        if messages.is_empty() {
            return Err(ChatError::Empty);
        }
        for (i, message) in messages.iter().enumerate() {
            if let Err(error) = core::str::from_utf8(message.content) {
                return Err(ChatError::NotUtf8 { message: i, at: error.valid_up_to() });
            }
        }
        if let Some(message) = (0..=messages.len()).find(|&at| self.piece(messages, at, generate).is_none()) {
            return Err(ChatError::Order { message });
        }
        let text_len = self.chat_text_len(messages);
        let needed = EncodeError::Scratch { needed: text_len };
        let (text, bytes) = scratch.bytes.split_at_mut_checked(text_len).ok_or(needed)?;
        let mut run = Run { text, len: 0, strip: false, first: true };
        let mut sink = Sink::new(out);
        for at in 0..=messages.len() {
            let piece = self.piece(messages, at, generate).unwrap_or_default();
            for i in piece.first..piece.first + piece.count {
                let (kind, a, b) = (self.chat_ops.get(i * 3), self.chat_ops.get(i * 3 + 1), self.chat_ops.get(i * 3 + 2));
                if kind == op::TEXT {
                    let literal = self.chat_text.get(a as usize..).and_then(|rest| rest.get(..b as usize)).unwrap_or(&[]);
                    self.extend(&mut run, literal);
                } else {
                    if b & added_flag::LSTRIP != 0 {
                        let text = run.text.get(..run.len).unwrap_or(&[]);
                        run.len = self.run_before(text, run.len, class_flag::SPACE);
                    }
                    self.flush(&mut run, scratch.words, bytes, &mut sink)?;
                    sink.push(a);
                    run.first = false;
                    run.strip = b & added_flag::RSTRIP != 0;
                }
            }
            if let Some(message) = messages.get(at) {
                let after = self.piece(messages, at + 1, generate).unwrap_or_default();
                let content = self.stripped(message.content, piece.trims & trim::AFTER != 0, after.trims & trim::BEFORE != 0);
                self.extend(&mut run, content);
            }
        }
        self.flush(&mut run, scratch.words, bytes, &mut sink)?;
        Ok(sink.finish()?)
    }

    /// The piece at gap `at`.
    fn piece(&self, messages: &[Message<'_>], at: usize, generate: bool) -> Option<Piece> {
        let role = |i: usize| messages.get(i).map_or(gap::START, |m| m.role as u32);
        let key = gap::key(self.chat_features, messages.len(), at, generate, role);
        let (mut low, mut high) = (0, self.chat_keys.len() / 2);
        while low < high {
            let middle = low + (high - low) / 2;
            let found = self.chat_keys.get(middle * 2);
            if found == key {
                return Some(self.piece_at(self.chat_keys.get(middle * 2 + 1) as usize));
            }
            if found < key { low = middle + 1 } else { high = middle }
        }
        None
    }

    fn piece_at(&self, i: usize) -> Piece {
        let word = |k| self.chat_pieces.get(i * 3 + k);
        Piece { first: word(0) as usize, count: word(1) as usize, trims: word(2) }
    }

    /// Upper bound of the rendered text's length in bytes, special tokens apart.
    fn chat_text_len(&self, messages: &[Message<'_>]) -> usize {
        let longest_gap = (0..self.chat_pieces.len() / 3).map(|i| {
            let piece = self.piece_at(i);
            let texts = (piece.first..piece.first + piece.count).filter(|&i| self.chat_ops.get(i * 3) == op::TEXT);
            texts.map(|i| self.chat_ops.get(i * 3 + 2) as usize).sum::<usize>()
        });
        let gaps = longest_gap.max().unwrap_or(0).saturating_mul(messages.len().saturating_add(1));
        messages.iter().fold(gaps, |sum, m| sum.saturating_add(m.content.len()))
    }

    fn extend(&self, run: &mut Run<'_>, text: &[u8]) {
        let mut text = text;
        if run.strip {
            text = text.get(self.run_after(text, 0, class_flag::SPACE)..).unwrap_or(&[]);
            run.strip = text.is_empty();
        }
        run.len = append(run.text, run.len, text);
    }

    fn flush(&self, run: &mut Run<'_>, words: &mut [u32], bytes: &mut [u8], out: &mut Sink<'_>) -> Result<(), EncodeError> {
        let text = run.text.get(..run.len).unwrap_or(&[]);
        run.len = 0;
        let how = encode::Run { specials: false, first: run.first };
        self.encode_run(text, how, words, bytes, out)
    }
}

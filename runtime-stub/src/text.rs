//! Text for a session: the tokenizer's working memory and the translation of its errors.
//!
//! The memory is carved when the session opens and sized by the context, as text that is far longer than the context
//! cannot be evaluated anyway. The system hands out its pages when they are first touched.

use crate::fault::{Code, Fault, Outcome, Value};
use crate::model::Model;
use crate::platform::memory::Table;
use crate::tokenizer::{ChatError, Decoder, EncodeError, EncodeOptions, MAX_STOP_BYTES, Message, Scratch, StopError, Tokenizer};

/// Bytes of text for each position of the context that encoding has working memory for.
const BYTES_A_POSITION: usize = 32;

/// Bytes of text that encoding has working memory for, however small the context is.
const LEAST_BYTES: usize = 1 << 16;

/// The tokenizer of a model with working memory; without one, every call says so.
pub struct Text<'b> {
    tokenizer: Option<Tokenizer<'b>>,
    words: Table<u32>,
    bytes: Table<u8>,
    piece: Table<u8>,
    sure: Table<u8>,
}

impl<'b> Text<'b> {
    /// Takes the working memory.
    ///
    /// # Errors
    /// [`Code::Memory`].
    pub fn open(model: &Model<'b>) -> Outcome<Self> {
        let Some(tokenizer) = model.tokenizer() else {
            return Ok(Self { tokenizer: None, words: Table::empty(), bytes: Table::empty(), piece: Table::empty(), sure: Table::empty() });
        };
        let memory = |errno| Fault::system(Code::Memory, "session", "no memory for text", errno);
        let text = (model.plan().header.ctx as usize * BYTES_A_POSITION).max(LEAST_BYTES);
        let need = tokenizer.scratch_len(text);
        let longest = tokenizer.longest_piece();
        Ok(Self {
            tokenizer: Some(tokenizer),
            words: Table::zeroed(need.words).map_err(memory)?,
            // A rendered chat lies beside its normalized form.
            bytes: Table::zeroed(need.bytes + text).map_err(memory)?,
            piece: Table::zeroed(longest).map_err(memory)?,
            sure: Table::zeroed(longest + MAX_STOP_BYTES).map_err(memory)?,
        })
    }

    /// Whether the bundle has a tokenizer.
    pub fn is_present(&self) -> bool {
        self.tokenizer.is_some()
    }

    /// Whether `id` ends an answer.
    pub fn is_eos(&self, id: u32) -> bool {
        self.tokenizer.is_some_and(|tokenizer| tokenizer.is_eos(id))
    }

    /// Ids of a text; returns their number.
    ///
    /// # Errors
    /// [`Code::NoText`], [`Code::Utf8`], [`Code::Buffer`].
    pub fn encode(&mut self, text: &[u8], options: EncodeOptions, out: &mut [u32]) -> Outcome<usize> {
        let room = out.len();
        let (tokenizer, mut scratch) = self.parts()?;
        tokenizer.encode(text, options, &mut scratch, out).map_err(|error| encode_fault(error, room))
    }

    /// Ids of a chat, with the head of the answer if `generate`; returns their number.
    ///
    /// # Errors
    /// [`Code::NoText`], [`Code::Chat`], [`Code::Utf8`], [`Code::Buffer`].
    pub fn chat(&mut self, messages: &[Message<'_>], generate: bool, out: &mut [u32]) -> Outcome<usize> {
        let room = out.len();
        let (tokenizer, mut scratch) = self.parts()?;
        tokenizer.chat(messages, generate, &mut scratch, out).map_err(|error| match error {
            ChatError::NoTemplate => Fault::new(Code::NoText, "chat", error.message()),
            ChatError::Empty => Fault::new(Code::Argument, "chat", error.message()),
            ChatError::Order { message } => Fault::new(Code::Chat, "chat", error.message()).at(message as u32),
            ChatError::NotUtf8 { message, .. } => Fault::new(Code::Utf8, "chat", error.message()).at(message as u32),
            ChatError::Encode(error) => encode_fault(error, room),
        })
    }

    /// Text of ids; returns its length. The last bytes may be U+FFFD if the ids end inside a character.
    ///
    /// # Errors
    /// [`Code::NoText`], [`Code::Buffer`] with the length needed.
    pub fn decode(&mut self, ids: &[u32], skip_special: bool, out: &mut [u8]) -> Outcome<usize> {
        let mut decoder = Decoder::default();
        let mut len = 0;
        let mut place = |piece: &[u8]| {
            if let Some(room) = out.get_mut(len..len + piece.len()) {
                room.copy_from_slice(piece);
            }
            len += piece.len();
        };
        for &id in ids {
            place(self.piece(id, skip_special, &mut decoder)?);
        }
        let rest = decoder.finish(&mut self.piece);
        place(&self.piece[..rest]);
        if len > out.len() {
            return Err(Fault::new(Code::Buffer, "text", "buffer is too small").numbers(len as u64, out.len() as u64));
        }
        Ok(len)
    }

    /// The text that token `id` completes.
    ///
    /// # Errors
    /// [`Code::NoText`].
    pub fn piece(&mut self, id: u32, skip_special: bool, decoder: &mut Decoder) -> Outcome<&[u8]> {
        let tokenizer = self.tokenizer.ok_or_else(no_tokenizer)?;
        let len =
            tokenizer.decode_piece(id, skip_special, decoder, &mut self.piece).map_err(|error| Fault::new(Code::State, "text", error.message()))?;
        Ok(&self.piece[..len])
    }

    /// Buffers of [`Text::piece`] and of text that passed the stop strings, for a stream.
    pub(crate) fn stream_buffers(&mut self) -> (Option<Tokenizer<'b>>, &mut [u8], &mut [u8]) {
        (self.tokenizer, &mut self.piece, &mut self.sure)
    }

    fn parts(&mut self) -> Outcome<(Tokenizer<'b>, Scratch<'_>)> {
        let tokenizer = self.tokenizer.ok_or_else(no_tokenizer)?;
        Ok((tokenizer, Scratch { words: &mut self.words, bytes: &mut self.bytes }))
    }
}

/// What a stop string was refused for.
pub fn stop_fault(error: StopError, index: u32) -> Fault {
    Fault::new(Code::Argument, "stop strings", error.message()).at(index)
}

/// What a bundle without a tokenizer answers.
pub fn no_tokenizer() -> Fault {
    Fault::new(Code::NoText, "tokenizer.bin", "is not part of this bundle").hint("work with token ids")
}

fn encode_fault(error: EncodeError, room: usize) -> Fault {
    let fault = |code| Fault::new(code, "text", error.message());
    match error {
        EncodeError::NotUtf8 { at } => {
            fault(Code::Utf8).values(Value::Text("UTF-8"), Value::Number(at as u64)).hint("the number is the bad byte's place")
        }
        EncodeError::OutputFull { needed } => fault(Code::Buffer).numbers(needed as u64, room as u64),
        EncodeError::Scratch { needed } => fault(Code::Buffer).values(Value::None, Value::Number(needed as u64)),
    }
}

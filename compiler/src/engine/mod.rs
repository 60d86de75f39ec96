//! Running a bundle in this process: the C interface of its own code, made safe.
//!
//! The code is loaded with the system's loader, so whoever opens a bundle that comes from elsewhere verifies it first;
//! what the stub itself checks (plan, code id, processor, hashes of weights and tokenizer) happens in
//! [`Engine::open`]. This folder is the only place of this crate with `unsafe`.
#![allow(unsafe_code, reason = "the code of a bundle has a C interface")]

mod error;
mod generate;
mod library;
mod profile;

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

use slmc_runtime_stub::capi::types::{ChatMessage, Error};
use slmc_runtime_stub::capi::{model, session, text};

pub use error::EngineError;
pub use generate::{GenerateError, GenerateOptions};
pub use profile::KernelTime;
pub use slmc_runtime_stub::capi::types::{GeneratedInfo, Info};
pub use slmc_runtime_stub::generate::{End, NO_TOKEN};
pub use slmc_runtime_stub::sample::Sampling;
pub use slmc_runtime_stub::session::Timings;
pub use slmc_runtime_stub::verify::Trust;

use library::{Functions, RawModel, RawSession};

/// Name of the shared library in a bundle.
pub const LIBRARY: &str = "model.so";

/// How to open a bundle.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Threads; 0 = as the bundle says, else one for each core.
    pub threads: u32,
    /// Where the stamp of a verified bundle is kept; none = hash the files at each opening.
    pub cache_dir: Option<PathBuf>,
    /// Hash the files even if a stamp is known.
    pub verify_always: bool,
    /// Fail without a cache folder instead of hashing.
    pub refuse_uncached: bool,
    /// Which of the devices that run the bundle, as `slmc devices` numbers them; none = the best one.
    pub device: Option<u8>,
}

/// Which special tokens of a text are tokens, and whether the model's frame goes around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenizeOptions {
    /// Special tokens written in the text are tokens; else they are text.
    pub special_as_tokens: bool,
    /// Put the model's own begin and end tokens around the text.
    pub frame: bool,
}

/// A model with one session.
pub struct Engine {
    shared: Arc<Shared>,
    info: Info,
}

/// Ends the running evaluation or answer of an [`Engine`], or else its next one; for other threads.
#[derive(Clone)]
pub struct Canceller {
    shared: Arc<Shared>,
}

struct Shared {
    functions: Functions,
    model: *mut RawModel,
    session: *mut RawSession,
}

// SAFETY: the stub takes calls from any thread and refuses those that overlap on one session.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: both came from the library, or are null, and are used no more; the session goes first.
        unsafe {
            (self.functions.slm_session_close)(self.session);
            (self.functions.slm_close)(self.model, ptr::null_mut());
        }
    }
}

impl Engine {
    /// Opens the bundle in folder `dir`, whose `model.so` is loaded into this process, and one session.
    ///
    /// # Errors
    /// [`EngineError`]; what the stub refuses names file, expected and found.
    pub fn open(dir: &Path, options: &EngineOptions) -> Result<Self, EngineError> {
        // An absolute path, as the loader would search a bare name elsewhere.
        let dir = std::fs::canonicalize(dir).map_err(|source| EngineError::Folder { path: dir.to_owned(), source })?;
        // SAFETY: the library is a bundle's code, says the caller by opening it.
        let functions = unsafe { Functions::load(&dir.join(LIBRARY))? };
        let c_dir = c_path(&dir, "the path of the bundle")?;
        let cache = options.cache_dir.as_deref().map(|dir| c_path(dir, "the path of the cache folder")).transpose()?;
        let mut flags = 0;
        if options.verify_always {
            flags |= model::VERIFY_ALWAYS;
        }
        if options.refuse_uncached {
            flags |= model::REFUSE_UNCACHED;
        }
        if let Some(number) = options.device {
            flags |= (u32::from(number) + 1) << model::DEVICE_SHIFT;
        }
        let mut shared = Shared { functions, model: ptr::null_mut(), session: ptr::null_mut() };
        let cache = cache.as_ref().map_or(ptr::null(), |dir| dir.as_ptr());
        check("slm_open", |error| {
            // SAFETY: the strings end with zeros, and the places are writable.
            unsafe { (shared.functions.slm_open)(c_dir.as_ptr(), cache, flags, options.threads, &mut shared.model, error) }
        })?;
        check("slm_session_open", |error| {
            // SAFETY: the model is open.
            unsafe { (shared.functions.slm_session_open)(shared.model, &mut shared.session, error) }
        })?;
        let mut info = std::mem::MaybeUninit::<Info>::uninit();
        check("slm_info", |error| {
            // SAFETY: the model is open, the place writable.
            unsafe { (shared.functions.slm_info)(shared.model, info.as_mut_ptr(), error) }
        })?;
        // SAFETY: written, as the call succeeded.
        let info = unsafe { info.assume_init() };
        Ok(Self { shared: Arc::new(shared), info })
    }

    /// What the model is.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        let end = self.info.name.iter().position(|&b| b == 0).unwrap_or(0);
        std::str::from_utf8(&self.info.name[..end]).unwrap_or("")
    }

    /// The name of the device that runs the kernels.
    pub fn device_name(&self) -> &str {
        let end = self.info.device_name.iter().position(|&b| b == 0).unwrap_or(0);
        std::str::from_utf8(&self.info.device_name[..end]).unwrap_or("")
    }

    /// For other threads.
    pub fn canceller(&self) -> Canceller {
        Canceller { shared: Arc::clone(&self.shared) }
    }

    /// Ids of a text.
    ///
    /// # Errors
    /// [`EngineError::Call`].
    pub fn tokenize(&mut self, text: &str, options: TokenizeOptions) -> Result<Vec<u32>, EngineError> {
        let mut flags = 0;
        if options.special_as_tokens {
            flags |= text::SPECIAL_AS_TOKENS;
        }
        if options.frame {
            flags |= text::FRAME;
        }
        let (functions, session) = self.raw();
        // A token has at least one byte, apart from the frame; a longer answer is asked for again.
        grown("slm_tokenize", text.len() + 16, |ids: &mut [u32], count, error| {
            // SAFETY: pointers with their lengths, and an open session.
            unsafe { (functions.slm_tokenize)(session, text.as_ptr().cast(), text.len(), flags, ids.as_mut_ptr(), ids.len(), count, error) }
        })
    }

    /// Text of ids; special tokens are left out unless `show_special`.
    ///
    /// # Errors
    /// [`EngineError::Call`].
    pub fn detokenize(&mut self, ids: &[u32], show_special: bool) -> Result<String, EngineError> {
        let flags = if show_special { text::TEXT_SHOW_SPECIAL } else { 0 };
        let (functions, session) = self.raw();
        let bytes = grown("slm_detokenize", ids.len() * 8 + 64, |bytes: &mut [u8], count, error| {
            // SAFETY: pointers with their lengths, and an open session.
            unsafe { (functions.slm_detokenize)(session, ids.as_ptr(), ids.len(), flags, bytes.as_mut_ptr().cast(), bytes.len(), count, error) }
        })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Ids of a chat, (role, content) each, with what introduces the answer if `answer_head`.
    ///
    /// # Errors
    /// [`EngineError::Call`], [`EngineError::ZeroByte`].
    pub fn chat_prompt(&mut self, chat: &[(&str, &str)], answer_head: bool) -> Result<Vec<u32>, EngineError> {
        let roles =
            chat.iter().map(|(role, _)| CString::new(*role).map_err(|_| EngineError::ZeroByte { what: "a role" })).collect::<Result<Vec<_>, _>>()?;
        let messages: Vec<ChatMessage> = chat
            .iter()
            .zip(&roles)
            .map(|((_, content), role)| ChatMessage { role: role.as_ptr(), content: content.as_ptr().cast(), content_bytes: content.len() })
            .collect();
        let flags = if answer_head { 0 } else { text::NO_ANSWER_HEAD };
        let guess = chat.iter().map(|(_, content)| content.len() + 16).sum::<usize>() + 64;
        let (functions, session) = self.raw();
        grown("slm_chat_prompt", guess, |ids: &mut [u32], count, error| {
            // SAFETY: pointers with their lengths; roles and contents live until the end of this function.
            unsafe { (functions.slm_chat_prompt)(session, messages.as_ptr(), messages.len(), flags, ids.as_mut_ptr(), ids.len(), count, error) }
        })
    }

    /// Appends tokens without computing logits.
    ///
    /// # Errors
    /// [`EngineError::Call`].
    pub fn eval(&mut self, ids: &[u32]) -> Result<(), EngineError> {
        self.eval_into(ids, session::LOGITS_NONE, &mut [])
    }

    /// Appends tokens; logits of the last one, `f32 [vocab]`.
    ///
    /// # Errors
    /// [`EngineError::Call`].
    pub fn eval_last(&mut self, ids: &[u32]) -> Result<Vec<f32>, EngineError> {
        let mut logits = vec![0.0; self.info.vocab as usize];
        self.eval_into(ids, session::LOGITS_LAST, &mut logits)?;
        Ok(logits)
    }

    /// Appends tokens; logits of every one, f32 [tokens, vocab].
    ///
    /// # Errors
    /// [`EngineError::Call`].
    pub fn eval_all(&mut self, ids: &[u32]) -> Result<Vec<f32>, EngineError> {
        let mut logits = vec![0.0; self.info.vocab as usize * ids.len()];
        self.eval_into(ids, session::LOGITS_ALL, &mut logits)?;
        Ok(logits)
    }

    /// Picks the next token from the logits of the last evaluation; it is not appended.
    ///
    /// # Errors
    /// [`EngineError::Call`].
    pub fn sample(&mut self, sampling: &Sampling) -> Result<u32, EngineError> {
        let mut id = 0;
        // SAFETY: an open session, readable parameters, a writable place.
        self.call("slm_sample", |functions, session, error| unsafe { (functions.slm_sample)(session, sampling, &mut id, error) })?;
        Ok(id)
    }

    /// Tokens of one step from now on; 0 = as many as the bundle allows.
    ///
    /// # Errors
    /// [`EngineError::Call`].
    pub fn set_chunk(&mut self, chunk: u32) -> Result<(), EngineError> {
        // SAFETY: an open session.
        self.call("slm_set_chunk", |functions, session, error| unsafe { (functions.slm_set_chunk)(session, chunk, error) })
    }

    /// Forgets all tokens.
    ///
    /// # Errors
    /// [`EngineError::Call`].
    pub fn reset(&mut self) -> Result<(), EngineError> {
        // SAFETY: an open session.
        self.call("slm_reset", |functions, session, error| unsafe { (functions.slm_reset)(session, error) })
    }

    /// Forgets the tokens from `position` on.
    ///
    /// # Errors
    /// [`EngineError::Call`].
    pub fn rewind(&mut self, position: u32) -> Result<(), EngineError> {
        // SAFETY: an open session.
        self.call("slm_rewind", |functions, session, error| unsafe { (functions.slm_rewind)(session, position, error) })
    }

    /// Tokens in the cache.
    ///
    /// # Errors
    /// [`EngineError::Call`].
    pub fn position(&self) -> Result<u32, EngineError> {
        let mut position = 0;
        // SAFETY: an open session, a writable place.
        self.call("slm_position", |functions, session, error| unsafe { (functions.slm_position)(session, &mut position, error) })?;
        Ok(position)
    }

    /// Where the time went since the engine was opened.
    ///
    /// # Errors
    /// [`EngineError::Call`].
    pub fn timings(&self) -> Result<Timings, EngineError> {
        let mut timings = Timings::default();
        // SAFETY: an open session, a writable place.
        self.call("slm_timings", |functions, session, error| unsafe { (functions.slm_timings)(session, &mut timings, error) })?;
        Ok(timings)
    }

    fn eval_into(&mut self, ids: &[u32], which: u32, out: &mut [f32]) -> Result<(), EngineError> {
        // SAFETY: an open session, pointers with their lengths.
        self.call("slm_eval", |functions, session, error| unsafe {
            (functions.slm_eval)(session, ids.as_ptr(), ids.len(), which, out.as_mut_ptr(), out.len(), error)
        })
    }

    fn raw(&self) -> (&Functions, *mut RawSession) {
        (&self.shared.functions, self.shared.session)
    }

    fn call(&self, function: &'static str, call: impl FnOnce(&Functions, *mut RawSession, *mut Error) -> i32) -> Result<(), EngineError> {
        let (functions, session) = self.raw();
        check(function, |error| call(functions, session, error))
    }
}

impl Canceller {
    /// Sets the flag; returns at once.
    pub fn cancel(&self) {
        // SAFETY: the session is open as long as `shared` lives.
        unsafe { (self.shared.functions.slm_cancel)(self.shared.session) };
    }
}

/// Makes a call with room for its error, and turns the code into a result.
fn check(function: &'static str, call: impl FnOnce(*mut Error) -> i32) -> Result<(), EngineError> {
    let mut error = Error { code: 0, message: [0; slmc_runtime_stub::capi::types::MESSAGE_BYTES] };
    let code = call(&mut error);
    if code == 0 {
        return Ok(());
    }
    let end = error.message.iter().position(|&b| b == 0).unwrap_or(error.message.len());
    let message = String::from_utf8_lossy(&error.message[..end]).into_owned();
    Err(EngineError::Call { function, code, message })
}

/// Makes a call that fills a buffer, once more with the size it asks for if the first was too small.
fn grown<T: Copy + Default>(
    function: &'static str,
    guess: usize,
    call: impl Fn(&mut [T], *mut usize, *mut Error) -> i32,
) -> Result<Vec<T>, EngineError> {
    let mut out = vec![T::default(); guess];
    let mut count = 0;
    let mut outcome = check(function, |error| call(&mut out, &mut count, error));
    if outcome.as_ref().is_err_and(|error| error.is(slmc_runtime_stub::fault::Code::Buffer)) && count > out.len() {
        out.resize(count, T::default());
        outcome = check(function, |error| call(&mut out, &mut count, error));
    }
    outcome?;
    out.truncate(count);
    Ok(out)
}

fn c_path(path: &Path, what: &'static str) -> Result<CString, EngineError> {
    use std::os::unix::ffi::OsStrExt as _;

    CString::new(path.as_os_str().as_bytes()).map_err(|_| EngineError::ZeroByte { what })
}

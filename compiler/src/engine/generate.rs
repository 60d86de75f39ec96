//! Answers with a Rust closure as the receiver of tokens.

use std::any::Any;
use std::ffi::{CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use slmc_runtime_stub::capi::session::{IGNORE_EOS, SHOW_SPECIAL};
use slmc_runtime_stub::capi::types::{GeneratedInfo, GenerationOptions};

use super::{Engine, EngineError, Sampling};

/// How to answer.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// How to pick tokens.
    pub sampling: Sampling,
    /// Most tokens of the answer; 0 = what the context holds.
    pub max_tokens: u32,
    /// Go on after tokens that end an answer.
    pub ignore_eos: bool,
    /// Write special tokens out as text.
    pub show_special: bool,
    /// Strings that end the answer and are not part of it.
    pub stops: Vec<String>,
}

impl Default for GenerateOptions {
    /// Greedy, without limits but the context and the model's own end.
    fn default() -> Self {
        Self { sampling: Sampling::GREEDY, max_tokens: 0, ignore_eos: false, show_special: false, stops: Vec::new() }
    }
}

/// An answer that an error ended, with what was done until then.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct GenerateError {
    /// Why.
    pub error: EngineError,
    /// Tokens and times until then.
    pub generated: GeneratedInfo,
}

struct Receiver<'a> {
    take: &'a mut dyn FnMut(u32, &str) -> bool,
    panic: Option<Box<dyn Any + Send>>,
}

impl Engine {
    /// Answers the prompt `ids`, which is the whole conversation: what the cache already holds of it is kept.
    ///
    /// `take` gets each token with the text it completes, and at the end [`super::NO_TOKEN`] with what text is left;
    /// false ends the answer. `end` of the result is a value of [`super::End`].
    ///
    /// # Errors
    /// [`GenerateError`]; also when the answer fills the context.
    pub fn generate(
        &mut self,
        ids: &[u32],
        options: &GenerateOptions,
        mut take: impl FnMut(u32, &str) -> bool,
    ) -> Result<GeneratedInfo, GenerateError> {
        let mut generated = GeneratedInfo::default();
        let stops = options
            .stops
            .iter()
            .map(|stop| CString::new(stop.as_str()).map_err(|_| EngineError::ZeroByte { what: "a stop string" }))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| GenerateError { error, generated })?;
        let stops: Vec<*const c_char> = stops.iter().map(|stop| stop.as_ptr()).collect();
        let mut flags = 0;
        if options.ignore_eos {
            flags |= IGNORE_EOS;
        }
        if options.show_special {
            flags |= SHOW_SPECIAL;
        }
        let mut receiver = Receiver { take: &mut take, panic: None };
        let how = GenerationOptions {
            sampling: options.sampling,
            max_tokens: options.max_tokens,
            flags,
            stops: stops.as_ptr(),
            stop_count: stops.len(),
            receiver: Some(receive),
            user: (&raw mut receiver).cast(),
        };
        // SAFETY: an open session; everything pointed at lives until the call returns.
        let outcome = self.call("slm_generate", |functions, session, error| unsafe {
            (functions.slm_generate)(session, ids.as_ptr(), ids.len(), &how, &mut generated, error)
        });
        if let Some(panic) = receiver.panic.take() {
            resume_unwind(panic);
        }
        match outcome {
            Ok(()) => Ok(generated),
            Err(error) => Err(GenerateError { error, generated }),
        }
    }
}

/// Called by the stub; a panic of the closure is carried around it, as it must not unwind through C.
unsafe extern "C" fn receive(user: *mut c_void, id: u32, text: *const c_char, bytes: usize) -> i32 {
    // SAFETY: `user` is the receiver of `generate`, which waits for this call; the text has the stated length.
    let (receiver, text) = unsafe {
        let text: &[u8] = if bytes == 0 { &[] } else { std::slice::from_raw_parts(text.cast(), bytes) };
        (&mut *user.cast::<Receiver<'_>>(), text)
    };
    // The stub hands out whole characters, so nothing is replaced here.
    let text = String::from_utf8_lossy(text);
    match catch_unwind(AssertUnwindSafe(|| (receiver.take)(id, &text))) {
        Ok(go_on) => i32::from(!go_on),
        Err(panic) => {
            receiver.panic = Some(panic);
            1
        }
    }
}

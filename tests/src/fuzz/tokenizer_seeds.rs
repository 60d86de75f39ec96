//! Small tokenizers of every supported configuration, to mutate.

/// As the files would be.
pub(super) fn all() -> Vec<Vec<u8>> {
    vec![super::tokenizer::example("tokenizer.json")]
}

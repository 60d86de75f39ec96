//! The compiled tokenizer against its oracles: the `tokenizers` crate for ids and text, Hugging Face's recorded prompts, minijinja for chat
//! templates.

mod byte_models;
mod chat;
mod config;
mod corpus;
mod corrupt;
mod decode;
mod encode;
mod models;
mod refused;
mod stop;
mod templates;
mod text_models;

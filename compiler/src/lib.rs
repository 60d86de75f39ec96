#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod bundle;
pub mod doctor;
pub mod engine;
pub mod golden;
pub mod import;
pub mod link;
pub mod package;
pub mod picture;
pub mod pipeline;
pub mod roofline;
pub mod sharing;
pub mod stub;
pub mod target;
pub mod tokenizer;
pub mod tune;

#[cfg(feature = "reference")]
pub mod check;
pub mod compare;
#[cfg(feature = "reference")]
pub mod reference;
pub mod score;
pub mod streams;

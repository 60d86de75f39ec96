//! The filetest runner and what the tests of whole models share: see README.md.
#![forbid(unsafe_code)]

pub mod runner;

pub mod doc_example;
pub mod file;
pub mod meaning;
pub mod round_trip;

pub mod command;

pub mod compiled;
pub mod expected;
pub mod native;
pub mod random_llama;

//! The filetest runner and what the tests of whole models share: see README.md.
#![forbid(unsafe_code)]

pub mod runner;

pub mod doc_example;
pub mod emulated;
pub mod file;
pub mod kernel_meaning;
pub mod kernel_pass;
pub mod meaning;
pub mod numbers;
pub mod parsed;
pub mod place;
pub mod round_trip;

pub mod command;

pub mod compiled;
pub mod expected;
pub mod native;
pub mod odd_models;
pub mod random_llama;
pub mod random_model;

pub mod fuzz;

pub mod msl;

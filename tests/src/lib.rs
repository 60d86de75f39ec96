//! The filetest runner: see README.md for the form of a file, the commands and blessing.

pub mod compiled;
pub mod expected;
pub mod runner;

pub mod doc_example;
pub mod file;
pub mod round_trip;

pub mod command;

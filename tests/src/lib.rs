//! The filetest runner: see README.md for the form of a file, the commands and blessing.

pub mod runner;

pub mod file;
pub mod round_trip;
pub mod doc_example;

pub mod command;

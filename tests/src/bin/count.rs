//! Instructions of one step of a bundle for arm64, counted under qemu.
//!
//! `count BUNDLE CPU POSITION TOKENS`: POSITION tokens are in the cache, TOKENS more are evaluated in one step, with logits of the last, on one
//! thread. Prints all instructions, and of these integer dot and matrix products, other vector instructions, loads and stores.

use std::path::Path;
use std::process::ExitCode;

use slmc_tests::emulated::Emulator;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let numbers = |at: usize| args.get(at).and_then(|text| text.parse::<u32>().ok());
    let (Some(bundle), Some(cpu), Some(position), Some(tokens), 4) = (args.first(), args.get(1), numbers(2), numbers(3), args.len()) else {
        eprintln!("usage: count BUNDLE CPU POSITION TOKENS\n  CPU as `qemu-aarch64 -cpu help` lists them, such as cortex-a76 or max");
        return ExitCode::from(2);
    };
    let Some(emulator) = Emulator::find() else { return ExitCode::FAILURE };
    // Small ids, which every model has.
    let ids: Vec<u32> = (0..position + tokens).map(|i| (i * 7919 + 13) % 1000).collect();
    println!("{:?}", emulator.count(Path::new(bundle), cpu, &ids, tokens.max(1), true));
    ExitCode::SUCCESS
}

//! The inner loops of matrix kernels for arm64, by the cycles that LLVM's model of a processor gives them, against those of
//! the instructions that such a loop cannot do without.
#![cfg(feature = "llvm")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use slmc_backends::EmitOptions;
use slmc_ir::kernel::{KernelModule, verify_module};
use slmc_ir::plan::Dispatch;
use slmc_ir::target::known;
use slmc_passes::kernel::legalize::legalize;
use slmc_tests::compiled::{Compiled, compile};

/// The tool; package llvm-19.
const MCA: &str = "llvm-mca-19";
/// Rounds of a loop that are modelled.
const ROUNDS: u32 = 100;
/// Most that a loop may take, as a multiple of its necessary instructions.
const MOST: f64 = 1.25;
/// Rows of a block, and of a slice of it.
const ROWS: u32 = 16;
const SLICE: u32 = 8;

/// The product of sixteen rows of 4 bits by some tokens, 32 columns a round.
#[derive(Clone, Copy)]
enum Loop {
    /// `sdot`, by this many tokens.
    Dots(u32),
    /// `sdot` by one token, where eight columns of a row lie together.
    PairedDots,
    /// `smmla`, by four tokens.
    Tiles,
}

impl Loop {
    /// How many `sdot` and `smmla` a round has.
    fn products(self) -> (usize, usize) {
        match self {
            Loop::Dots(tokens) => (32 * tokens as usize, 0),
            Loop::PairedDots => (32, 0),
            Loop::Tiles => (0, 64),
        }
    }

    /// A round's necessary instructions: every weight, activation and scale loaded once, unpacked, multiplied, scaled and added. The
    /// names of registers only say what waits for what.
    fn necessary(self) -> String {
        let mut lines = Lines(String::new());
        let tokens = match self {
            Loop::Dots(tokens) => tokens,
            Loop::PairedDots => 1,
            Loop::Tiles => 4,
        };
        for token in 0..tokens {
            lines.add("ldp q4, q5, [x2]");
            match self {
                Loop::PairedDots => {
                    for m in 0..4 {
                        lines.add(format!("dup v4.2d, v{}.d[{}]", 4 + m / 2, m % 2));
                    }
                    lines.add("ldr w6, [x4]\nasr w6, w6, #1\ndup v7.4s, w6\nldr s6, [x3]");
                }
                Loop::Dots(_) => lines.add("ld1r {v7.4s}, [x4]\nldr s6, [x3]"),
                Loop::Tiles => {
                    lines.add("ld1r {v7.4s}, [x4]\nld1r {v6.4s}, [x3]\nzip1 v4.2d, v4.2d, v5.2d\nzip2 v5.2d, v4.2d, v5.2d");
                    if token % 2 == 1 {
                        lines.add("zip1 v7.4s, v7.4s, v7.4s\nzip1 v6.4s, v6.4s, v6.4s");
                    }
                }
            }
        }
        let slices = ROWS / SLICE;
        for slice in 0..slices {
            // Vectors of integer sums per slice, and of weights per load of one.
            let (sums, loads) = match self {
                Loop::Dots(tokens) => (2 * tokens, 4),
                Loop::PairedDots => (4, 4),
                Loop::Tiles => (8, 4),
            };
            // The last sum of a token, or of a pair of them, takes the place of what it starts with.
            let starts = if matches!(self, Loop::Tiles) { tokens / 2 } else { tokens };
            let kept = if slice + 1 == slices { starts } else { 0 };
            for sum in 0..sums - kept {
                lines.add(format!("mov v{}.16b, v7.16b", 8 + sum));
            }
            for _ in 0..loads {
                lines.add("ldp q0, q1, [x1]");
                for raw in 0..2 {
                    for half in ["and v2.16b, v{}.16b, v3.16b", "ushr v2.16b, v{}.16b, #4"] {
                        lines.add(half.replace("{}", &raw.to_string()));
                        match self {
                            Loop::Dots(tokens) => (0..tokens).for_each(|t| lines.add(format!("sdot v{}.4s, v2.16b, v4.4b[1]", 8 + 2 * t + raw))),
                            Loop::PairedDots => lines.products("sdot", [raw, raw + 2], 1),
                            Loop::Tiles => lines.products("smmla", [raw, raw + 2], 2),
                        }
                    }
                }
            }
            lines.add("ldr q0, [x1]\nfcvtl v1.4s, v0.4h\nfcvtl2 v2.4s, v0.8h");
            match self {
                Loop::Tiles => lines.add("zip1 v0.4s, v1.4s, v1.4s\nzip2 v1.4s, v1.4s, v1.4s\nzip1 v0.4s, v2.4s, v2.4s\nzip2 v1.4s, v2.4s, v2.4s"),
                Loop::PairedDots => lines.add("addp v8.4s, v8.4s, v9.4s\naddp v9.4s, v10.4s, v11.4s"),
                Loop::Dots(_) => {}
            }
            let results = if matches!(self, Loop::PairedDots) { 2 } else { sums };
            for sum in 0..results {
                let (int, float) = (8 + sum, 16 + slice * results + sum);
                lines.add(format!("scvtf v{int}.4s, v{int}.4s\nfmul v2.4s, v1.4s, v6.s[0]\nfmla v{float}.4s, v2.4s, v{int}.4s"));
            }
        }
        lines.add("add x1, x1, #288\nadd x2, x2, #32\nadd x3, x3, #4\nadd x4, x4, #4\nsubs x5, x5, #1\nb.ne .");
        lines.0
    }
}

struct Lines(String);

impl Lines {
    fn add(&mut self, lines: impl AsRef<str>) {
        let _ = writeln!(self.0, "{}", lines.as_ref());
    }

    /// One product for each of `pairs` pairs of tokens, into one of the sums `of`: unpacked bytes of a half go to one of them.
    fn products(&mut self, name: &str, of: [u32; 2], pairs: u32) {
        let turn = self.0.matches(name).count() as u32 / pairs / 2 % 2;
        for pair in 0..pairs {
            self.add(format!("{name} v{}.4s, v2.16b, v4.16b", 8 + of[turn as usize] + 4 * pair));
        }
    }
}

/// Cycles of a round by the model of `cpu`.
fn cycles(text: &str, cpu: &str) -> f64 {
    let mut tool = Command::new(MCA)
        .args(["-mtriple=aarch64", "-mattr=+dotprod,+i8mm", &format!("-mcpu={cpu}"), &format!("-iterations={ROUNDS}"), "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool starts");
    tool.stdin.take().expect("invariant: piped").write_all(text.as_bytes()).expect("the tool reads");
    let output = tool.wait_with_output().expect("the tool ends");
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = found.lines().find_map(|l| l.strip_prefix("Total Cycles:"));
    let line = line.unwrap_or_else(|| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)));
    line.trim().parse::<f64>().expect("a number") / f64::from(ROUNDS)
}

/// The loops without another inside and without a branch but their own, as assembler text.
fn innermost(listing: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block: Option<(&str, Vec<&str>)> = None;
    for line in listing.lines() {
        let code = line.split("//").next().unwrap_or_default().trim();
        if let Some(label) = code.strip_suffix(':') {
            block = Some((label, vec![code]));
        } else if !code.is_empty()
            && !code.starts_with('.')
            && let Some((label, lines)) = &mut block
        {
            lines.push(code);
            if code.starts_with("b.") || code.starts_with("cb") || code.starts_with("tb") {
                if code.ends_with(&**label) {
                    found.push(lines.join("\n"));
                }
                block = None;
            }
        }
    }
    found
}

/// Assembler text of the kernels of a list.
fn listing(c: &Compiled, list: &[Dispatch], target: &slmc_ir::target::Target) -> String {
    let mut ids: Vec<_> = list.iter().map(|d| d.kernel).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut module = KernelModule::default();
    for id in ids {
        module.kernels.push(c.lowered.kernels.kernels[id].clone());
    }
    legalize(&mut module, target);
    let backend = slmc_backends::lookup("llvm").expect("the feature llvm");
    let options = EmitOptions { listing: true, ..EmitOptions::default() };
    let verified = verify_module(&module).unwrap_or_else(|faults| panic!("{faults:?}"));
    backend.emit(verified, target, &options).unwrap_or_else(|e| panic!("{e}")).listing.expect("a listing was asked for")
}

#[test]
fn inner_loops_take_little_more_than_their_necessary_instructions() {
    if !Command::new(MCA).arg("--version").output().is_ok_and(|run| run.status.success()) {
        println!("skipped: no {MCA}; apt-get install llvm-19 gives it");
        return;
    }
    let student = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/warehouse");
    for (name, cpu, decode, prefill) in
        [("linux-arm64-dotprod", "neoverse-n1", Loop::Dots(1), Loop::Dots(4)), ("linux-arm64-i8mm", "neoverse-n2", Loop::PairedDots, Loop::Tiles)]
    {
        let target = known::find(name).expect("a known target");
        let c = compile(&student, &target, "fold,share,quantize,fuse", 256, 64);
        for (what, list, kind) in [("decode", &c.lowered.plan.decode, decode), ("prefill", &c.lowered.plan.prefill, prefill)] {
            let bound = cycles(&kind.necessary(), cpu);
            let count = |text: &str, op: &str| text.lines().filter(|l| l.split_whitespace().next() == Some(op)).count();
            let loops: Vec<String> = innermost(&listing(&c, list, &target))
                .into_iter()
                .filter(|l| (count(l, "sdot"), count(l, "smmla")) == kind.products() && count(l, "orr") == 0)
                .collect();
            assert!(loops.len() >= 3, "{name}, {what}: {} loops of {:?} products", loops.len(), kind.products());
            for text in loops {
                let found = cycles(&text, cpu);
                println!("{name} as {cpu}, {what}: {found:.1} cycles a round, {bound:.1} necessary, {:.2}", found / bound);
                assert!(
                    bound <= 1.01 * found,
                    "{name}, {what}: {found} cycles a round, fewer than the {bound} of what is taken for necessary:\n{text}"
                );
                assert!(found <= MOST * bound, "{name}, {what}: {found} cycles a round, of which {bound} are necessary:\n{text}");
            }
        }
    }
}

//! Bundles for arm64 Linux and Android, run by qemu on the processors it shows.
//!
//! A small C program (`emulated/runner.c`) opens the bundle on the other side; it is compiled once a test and told by pipes what to
//! evaluate. A plugin of the emulator (`emulated/count.c`) counts the instructions of one step: a measure of speed that is the same
//! on every machine and in every run.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

/// The emulator.
const QEMU: &str = "qemu-aarch64";
/// A compiler for the other side.
const CC: &str = "aarch64-linux-gnu-gcc";
/// The C library that stands for Android's.
const LIBC: &str = "/lib/aarch64-linux-gnu/libc.so.6";

/// Instructions of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instructions {
    /// All.
    pub all: u64,
    /// Integer dot and matrix products.
    pub dot: u64,
    /// Other vector instructions.
    pub vector: u64,
    /// Loads.
    pub load: u64,
    /// Stores.
    pub store: u64,
}

/// Emulator and runner.
pub struct Emulator {
    folder: TempDir,
}

/// A bundle that is open on an emulated processor.
pub struct Emulated {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Columns of logits.
    pub vocab: u32,
}

impl Emulator {
    /// Compiles the runner; `None`, with what to install, where emulator or compiler is missing.
    ///
    /// # Panics
    /// When the runner does not compile.
    pub fn find() -> Option<Self> {
        let there = |program: &str| Command::new(program).arg("--version").output().is_ok_and(|run| run.status.success());
        if !there(QEMU) || !there(CC) || !Path::new(LIBC).exists() {
            println!("skipped: no arm64 emulator; apt-get install qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross libc6:arm64 gives one");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        symlink(LIBC, folder.path().join("libc.so")).expect("a link");
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let run = Command::new(CC)
            .args(["-O1", "-Wall", "-Werror", "-rdynamic", "-I"])
            .arg(here.join("../runtime-stub/include"))
            .arg(here.join("emulated/runner.c"))
            .arg("-o")
            .arg(folder.path().join("runner"))
            .arg("-ldl")
            .output()
            .expect("the compiler starts");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        Some(Self { folder })
    }

    /// Instructions of one step of the last `step` of `ids`, the others being in the cache, with the head for the last one if `head`;
    /// one thread.
    ///
    /// # Panics
    /// When the plugin does not compile or the runner fails.
    pub fn count(&self, bundle: &Path, cpu: &str, ids: &[u32], step: u32, head: bool) -> Instructions {
        let (plugin, out) = (self.folder.path().join("count.so"), self.folder.path().join("count.txt"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("emulated/count.c");
        let run = Command::new("cc").args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC"]).arg(source).arg("-o").arg(&plugin).output();
        let run = run.expect("a C compiler");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let mut command = self.command(cpu);
        command.arg("-plugin").arg(format!("{},out={}", plugin.display(), out.display()));
        let mut emulated = self.start(command, bundle, 1).unwrap_or_else(|e| panic!("{e}"));
        emulated.request([3, step, ids.len() as u32 - step, head.into()], &words(ids));
        emulated.ids(1);
        drop(emulated);
        let text = fs::read_to_string(&out).expect("the plugin wrote its counts");
        let counts: Vec<u64> = text.split_whitespace().map(|n| n.parse().expect("a number")).collect();
        let [all, dot, vector, load, store] = counts[..] else { panic!("{text}") };
        Instructions { all, dot, vector, load, store }
    }

    /// The command that runs `program` with arguments on processor `cpu` (as `qemu-aarch64 -cpu help` lists them).
    pub fn command(&self, cpu: &str) -> Command {
        let mut command = Command::new(QEMU);
        // Android's bundles ask for `libc.so`.
        let library_path = format!("LD_LIBRARY_PATH={}", self.folder.path().display());
        command.args(["-cpu", cpu, "-E", &library_path]);
        command
    }

    fn runner(&self) -> PathBuf {
        self.folder.path().join("runner")
    }

    /// Opens a bundle.
    ///
    /// # Errors
    /// What the runtime says where it does not open, or how the process ended.
    ///
    /// # Panics
    /// When the emulator does not start.
    pub fn open(&self, bundle: &Path, cpu: &str, threads: u32) -> Result<Emulated, String> {
        self.start(self.command(cpu), bundle, threads)
    }

    fn start(&self, mut command: Command, bundle: &Path, threads: u32) -> Result<Emulated, String> {
        let mut child = command
            .arg(self.runner())
            .arg(bundle)
            .arg(threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the emulator starts");
        let requests = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().expect("invariant: piped"));
        let mut vocab = [0; 4];
        if answers.read_exact(&mut vocab).is_err() {
            let output = child.wait_with_output().expect("the emulator ends");
            return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()));
        }
        Ok(Emulated { child, requests, answers, vocab: u32::from_le_bytes(vocab) })
    }
}

impl Emulated {
    /// Logits of every token from an empty cache in steps of `chunk` tokens, then `more` greedy tokens.
    ///
    /// # Panics
    /// When the other side fails.
    pub fn evaluate(&mut self, ids: &[u32], chunk: u32, more: u32) -> (Vec<Vec<f32>>, Vec<u32>) {
        self.request([0, ids.len() as u32, chunk, more], &words(ids));
        let vocab = self.vocab as usize;
        let numbers = self.read(ids.len() * vocab * 4);
        let numbers: Vec<f32> = numbers.as_chunks::<4>().0.iter().map(|n| f32::from_le_bytes(*n)).collect();
        (numbers.chunks_exact(vocab).map(<[f32]>::to_vec).collect(), self.ids(more))
    }

    /// Ids of a text as it stands.
    ///
    /// # Panics
    /// When the other side fails.
    pub fn tokenize(&mut self, text: &str) -> Vec<u32> {
        self.request([1, text.len() as u32, 0, 0], text.as_bytes());
        let count = self.ids(1)[0];
        self.ids(count)
    }

    /// The greedy answer to a prompt of at most `most` tokens: ids without the one that ended it, and text.
    ///
    /// # Panics
    /// When the other side fails.
    pub fn generate(&mut self, prompt: &[u32], most: u32) -> (Vec<u32>, String) {
        self.request([2, prompt.len() as u32, most, 0], &words(prompt));
        let sizes = self.ids(2);
        let ids = self.ids(sizes[0]);
        let text = String::from_utf8(self.read(sizes[1] as usize)).expect("text is UTF-8");
        (ids, text)
    }

    fn request(&mut self, head: [u32; 4], data: &[u8]) {
        let requests = self.requests.as_mut().expect("invariant: open until dropped");
        requests.write_all(&words(&head)).and_then(|()| requests.write_all(data)).and_then(|()| requests.flush()).expect("the runner listens");
    }

    fn ids(&mut self, count: u32) -> Vec<u32> {
        self.read(count as usize * 4).as_chunks::<4>().0.iter().map(|n| u32::from_le_bytes(*n)).collect()
    }

    fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut data = vec![0; bytes];
        if let Err(e) = self.answers.read_exact(&mut data) {
            let mut words = String::new();
            if let Some(mut stderr) = self.child.stderr.take() {
                let _ = stderr.read_to_string(&mut words);
            }
            panic!("the runner ended: {e}: {words}");
        }
        data
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        // The end of its input ends the runner.
        self.requests = None;
        let _ = self.child.wait();
    }
}

fn words(ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

/// Whether a file's bytes are those of an arm64 ELF library.
pub fn is_arm64_elf(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF") && bytes.get(18..20) == Some(&[183, 0]))
}

//! Tries inputs on a target until time or number is up, or until it fails.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use super::Target;
use super::random::Random;

/// Inputs kept for mutation, seeds included.
const MOST_KEPT: usize = 4000;

/// How long to try, and with what.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Stop after so many inputs.
    pub executions: u64,
    /// Stop after so long.
    pub time: Duration,
    /// One input may take so long.
    pub hang: Duration,
    /// Where the sequence of inputs starts.
    pub seed: u64,
    /// Folder for inputs that fail. While an input is tried it lies there under [`CURRENT`]: an abort leaves it behind.
    pub save: PathBuf,
}

/// Ending of the name of the input that is being tried.
pub const CURRENT: &str = "current";

/// What happened.
#[derive(Debug)]
pub struct Report {
    /// Inputs tried.
    pub executions: u64,
    /// Different outcomes seen.
    pub outcomes: usize,
    /// The longest time of one input.
    pub slowest: Duration,
    /// What ended the search early.
    pub failure: Option<Failure>,
}

/// An input that fails.
#[derive(Debug)]
pub struct Failure {
    /// The panic's message, or how long it hung.
    pub what: String,
    /// Where the input is.
    pub input: PathBuf,
}

/// State that the watcher reads.
struct Shared {
    report: Report,
    /// The input being tried, and since when.
    current: Option<(Instant, Vec<u8>)>,
}

/// Tries inputs. A panic of the target ends the search, and so does an input that takes too long: its thread is then left behind, so the
/// process should end soon.
///
/// # Errors
/// When the folder for inputs cannot be written.
pub fn drive(target: &'static dyn Target, limits: &Limits) -> io::Result<Report> {
    fs::create_dir_all(&limits.save)?;
    let fresh = Report { executions: 0, outcomes: 0, slowest: Duration::ZERO, failure: None };
    let shared = Arc::new(Mutex::new(Shared { report: fresh, current: None }));
    let (done, ended) = mpsc::channel();
    let worker = {
        let (shared, limits) = (Arc::clone(&shared), limits.clone());
        move || drop(done.send(search(target, &limits, &shared)))
    };
    thread::Builder::new().name(target.name().to_owned()).spawn(worker)?;
    loop {
        match ended.recv_timeout(Duration::from_millis(100)) {
            Ok(outcome) => outcome?,
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("the searching thread died")),
            Err(RecvTimeoutError::Timeout) => {
                let mut shared = lock(&shared);
                let stuck = shared.current.as_ref().filter(|(since, _)| since.elapsed() > limits.hang);
                let Some((since, input)) = stuck else { continue };
                let what = format!("still running after {:.1} s", since.elapsed().as_secs_f64());
                let failure = save(target, &limits.save, input, what)?;
                shared.report.failure = Some(failure);
            }
        }
        let report = &mut lock(&shared).report;
        return Ok(Report { failure: report.failure.take(), ..*report });
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn search(target: &dyn Target, limits: &Limits, shared: &Mutex<Shared>) -> io::Result<()> {
    let start = Instant::now();
    let current = limits.save.join(format!("{}-{CURRENT}", target.name()));
    let mut random = Random(limits.seed);
    let mut pool = target.seeds();
    let mut seen = BTreeSet::new();
    let mut at = 0;
    for number in 0..limits.executions {
        if start.elapsed() > limits.time {
            break;
        }
        let input = if at < pool.len() && number == at as u64 {
            at += 1;
            pool[at - 1].clone()
        } else {
            let (one, other) = (random.below(pool.len()), random.below(pool.len()));
            target.mutate(&mut random, pool.get(one).map_or(&[], Vec::as_slice), pool.get(other).map_or(&[], Vec::as_slice))
        };
        fs::write(&current, &input)?;
        let begun = Instant::now();
        lock(shared).current = Some((begun, input.clone()));
        let outcome = catch_unwind(AssertUnwindSafe(|| target.run(&input)));
        let mut shared = lock(shared);
        shared.current = None;
        shared.report.executions += 1;
        shared.report.slowest = shared.report.slowest.max(begun.elapsed());
        match outcome {
            Ok(outcome) => {
                let kind: String = outcome.chars().filter(|c| !c.is_numeric()).take(200).collect();
                if seen.insert(kind) && pool.len() < MOST_KEPT && !pool.contains(&input) {
                    pool.push(input);
                }
                shared.report.outcomes = seen.len();
            }
            Err(panic) => {
                shared.report.failure = Some(save(target, &limits.save, &input, message(panic.as_ref()))?);
                break;
            }
        }
    }
    fs::remove_file(&current).or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("no message"))
}

/// Writes the input under a name of its content.
fn save(target: &dyn Target, folder: &Path, input: &[u8], what: String) -> io::Result<Failure> {
    let hash = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let path = folder.join(format!("{}-{hash:016x}", target.name()));
    fs::write(&path, input)?;
    Ok(Failure { what, input: path })
}

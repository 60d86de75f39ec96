//! Progress of a compile: bars on a terminal, one line a phase elsewhere, nothing with `--quiet`. All on standard error; the table
//! of times is part of the compile's report. And of work that is counted, likewise: a bar, or a line now and then.

use std::io::{self, IsTerminal as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use slmc::pipeline::Progress;

use crate::report::note;

/// Bars for phases of which the number of bytes is known, spinners for others.
pub struct Bars {
    bar: Mutex<Option<ProgressBar>>,
}

/// A line for each phase when it is done.
pub struct Lines;

/// Work of a known number of things.
pub struct Counted {
    what: &'static str,
    total: usize,
    done: usize,
    shown: Shown,
}

/// How [`Counted`] is shown.
enum Shown {
    Not,
    Bar(ProgressBar),
    /// With the time of the last line.
    Lines(Instant),
}

/// Between two lines about counted work.
const PAUSE: Duration = Duration::from_secs(10);

/// How a phase's time is written: `3.21 s`, `45 ms`.
pub fn seconds(time: Duration) -> String {
    if time >= Duration::from_secs(1) { format!("{:.2} s", time.as_secs_f64()) } else { format!("{} ms", time.as_millis()) }
}

/// What fits where standard error goes; `None` for nothing.
pub fn for_stderr(quiet: bool) -> Box<dyn Progress> {
    if quiet {
        Box::new(slmc::pipeline::Silent)
    } else if io::stderr().is_terminal() {
        Box::new(Bars { bar: Mutex::new(None) })
    } else {
        Box::new(Lines)
    }
}

impl Counted {
    /// Begins; `what` names the things, for example `tokens`.
    pub fn begin(what: &'static str, total: usize, quiet: bool) -> Self {
        let shown = if quiet {
            Shown::Not
        } else if io::stderr().is_terminal() {
            let bar = ProgressBar::new(total as u64);
            if let Ok(style) = ProgressStyle::with_template("{msg:>10} [{bar:40}] {pos}/{len} {eta}") {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(what);
            bar.enable_steady_tick(Duration::from_millis(100));
            Shown::Bar(bar)
        } else {
            Shown::Lines(Instant::now())
        };
        Self { what, total, done: 0, shown }
    }

    /// So many more are done.
    pub fn advance(&mut self, count: usize) {
        self.done += count;
        match &mut self.shown {
            Shown::Not => {}
            Shown::Bar(bar) => bar.inc(count as u64),
            Shown::Lines(last) if last.elapsed() < PAUSE => {}
            Shown::Lines(last) => {
                note(format_args!("{:>10} {} of {}", self.what, self.done, self.total));
                *last = Instant::now();
            }
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

impl Bars {
    fn with(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        if let Ok(mut bar) = self.bar.lock() {
            act(&mut bar);
        }
    }
}

impl Progress for Bars {
    fn begin(&self, phase: &str, total: Option<u64>) {
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), "{msg:>10} [{bar:40}] {bytes}/{total_bytes} {eta}"),
            None => (ProgressBar::new_spinner(), "{msg:>10} {spinner}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(phase.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        self.with(|slot| *slot = Some(bar));
    }

    fn advance(&self, bytes: u64) {
        self.with(|slot| {
            if let Some(bar) = slot {
                bar.inc(bytes);
            }
        });
    }

    fn end(&self, _phase: &str, _time: Duration) {
        self.with(|slot| {
            if let Some(bar) = slot.take() {
                bar.finish_and_clear();
            }
        });
    }
}

impl Progress for Lines {
    fn begin(&self, _phase: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self, phase: &str, time: Duration) {
        note(format_args!("{phase:>10} {}", seconds(time)));
    }
}

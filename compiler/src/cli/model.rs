//! Opening a model for the commands that measure one: a bundle as it is, a checkpoint compiled in f32 for this machine.
//!
//! A checkpoint's bundle stands in a folder of its own that nobody else can write, and goes as soon as it is open: the system keeps
//! mapped files until the command ends, however it ends. A command that is killed before leaves a folder, which the next one removes.

use std::fs::{self, File};
use std::path::Path;

use slmc::bundle::MANIFEST;
use slmc::pipeline::{self, CompileOptions, Outcome};
use slmc::target::TargetSpec;
use tempfile::TempDir;

use super::device::DeviceArgs;
use super::opened::{Opened, cache_folder};
use crate::progress;
use crate::report::{Failure, note};

/// How the folders of compiled checkpoints begin.
const PREFIX: &str = "checkpoint-";

/// Opens a bundle, or compiles a checkpoint and opens that.
pub fn open(path: &Path, device: &DeviceArgs, quiet: bool) -> Result<Opened, Failure> {
    if path.join(MANIFEST).exists() {
        return Opened::open(path, device);
    }
    if path.join("config.json").exists() {
        return compiled(path, device, quiet);
    }
    if !path.exists() {
        return Err(Failure::new(format_args!("{}: no such file or folder", path.display())));
    }
    let message = format!("{}: neither a bundle (manifest.json) nor a checkpoint (config.json)", path.display());
    Err(Failure::new(message))
}

/// As [`open`], for commands that give the model text.
pub fn with_tokenizer(path: &Path, device: &DeviceArgs, quiet: bool) -> Result<Opened, Failure> {
    let opened = open(path, device, quiet)?;
    if opened.engine.info().has_text == 0 {
        let failure = Failure::new(format_args!("{}: the model has no tokenizer, without which it reads no text", path.display()));
        return Err(failure.hint("compile a checkpoint that has a tokenizer.json"));
    }
    Ok(opened)
}

fn compiled(model: &Path, device: &DeviceArgs, quiet: bool) -> Result<Opened, Failure> {
    let folder = Folder::make()?;
    let bundle = folder.dir.path().join("model.slm");
    let options = CompileOptions { quant: "f32".to_owned(), ..CompileOptions::new(model.to_owned(), bundle.clone(), TargetSpec::parse("host")?) };
    let progress = progress::for_stderr(quiet);
    let outcome = pipeline::compile(&options, progress.as_ref())?;
    drop(progress);
    if let Outcome::Written(report) = &outcome
        && !quiet
    {
        report.warnings.iter().for_each(|warning| note(format_args!("warning: {warning}")));
    }
    Opened::open_unstamped(&bundle, device)
}

/// A folder that lives as long as this; locked, so that others tell it from one that was left.
struct Folder {
    dir: TempDir,
    _lock: Option<File>,
}

impl Folder {
    /// In the cache folder, where leftovers are found again; without one among the system's temporary files.
    fn make() -> Result<Self, Failure> {
        let failed = |place: &Path, e: std::io::Error| Failure::new(format_args!("{}: {e}", place.display()));
        let Some(parent) = cache_folder("compiled") else {
            let dir = tempfile::Builder::new().prefix("slmc-").tempdir().map_err(|e| failed(&std::env::temp_dir(), e))?;
            return Ok(Self { dir, _lock: None });
        };
        // Held until the new folder has its own lock, so that nobody takes it for a leftover.
        let guard = File::open(&parent).and_then(|guard| guard.lock().map(|()| guard)).map_err(|e| failed(&parent, e))?;
        remove_left(&parent);
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&parent).map_err(|e| failed(&parent, e))?;
        let lock = File::open(dir.path()).and_then(|lock| lock.lock().map(|()| lock)).map_err(|e| failed(dir.path(), e))?;
        drop(guard);
        Ok(Self { dir, _lock: Some(lock) })
    }
}

/// Removes the folders of commands that were killed. Nothing depends on its success.
fn remove_left(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        if File::open(entry.path()).is_ok_and(|dir| dir.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_living_stay() {
        let parent = tempfile::tempdir().expect("temporary folder");
        let [left, living, other] = ["checkpoint-a", "checkpoint-b", "stamps"].map(|name| parent.path().join(name));
        for folder in [&left, &living, &other] {
            fs::create_dir_all(folder.join("model.slm")).expect("folder");
        }
        let lock = File::open(&living).expect("open");
        lock.lock().expect("lock");
        remove_left(parent.path());
        assert_eq!([left.exists(), living.exists(), other.exists()], [false, true, true]);
    }
}

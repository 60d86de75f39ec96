//! Putting a bundle, or another folder of which one file says what it is, in place in one step.
//!
//! Files are written to a folder beside the target (`.NAME.slmc-tmp-PID`), synced, and the folder is exchanged with the
//! target by one rename: whoever looks sees the old bundle or the new one, whole. The folder is locked while its compile
//! lives; one without a living owner was left by a killed compile and is removed by the next compile to the same target.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{BundleError, MANIFEST};

/// Marks the folders that this module makes.
const MARK: &str = ".slmc-tmp-";

/// A bundle being written. Dropped without [`Stage::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct Stage {
    target: PathBuf,
    parent: PathBuf,
    dir: PathBuf,
    force: bool,
    marker: &'static str,
    _lock: File,
}

/// Whether a bundle may be written at `target`.
///
/// # Errors
/// [`BundleError::Exists`] for a bundle without `force`, [`BundleError::Foreign`] for anything else but an empty folder.
pub fn check_target(target: &Path, force: bool) -> Result<(), BundleError> {
    check_marked(target, force, MANIFEST)
}

/// As [`check_target`], for folders that hold a file `marker`.
fn check_marked(target: &Path, force: bool, marker: &str) -> Result<(), BundleError> {
    let Ok(meta) = fs::symlink_metadata(target) else { return Ok(()) };
    let path = target.to_owned();
    let is_empty = meta.is_dir() && fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none());
    if !is_empty && !target.join(marker).is_file() {
        return Err(BundleError::Foreign { path });
    }
    if force { Ok(()) } else { Err(BundleError::Exists { path }) }
}

impl Stage {
    /// Begins a bundle that will stand at `target`; its parent folder is made if need be. Leftovers of killed compiles to the
    /// same target are removed.
    ///
    /// # Errors
    /// As [`check_target`]; a folder that cannot be made.
    pub fn begin(target: &Path, force: bool) -> Result<Self, BundleError> {
        Self::begin_marked(target, force, MANIFEST)
    }

    /// Begins another kind of folder: only one that holds a file `marker`, as this one will, is replaced.
    ///
    /// # Errors
    /// As [`Stage::begin`].
    pub fn begin_marked(target: &Path, force: bool, marker: &'static str) -> Result<Self, BundleError> {
        check_marked(target, force, marker)?;
        let Some(name) = target.file_name() else { return Err(BundleError::Foreign { path: target.to_owned() }) };
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&parent).map_err(|e| BundleError::write(&parent, &e))?;
        let prefix = format!(".{}{MARK}", name.to_string_lossy());
        remove_stale(&parent, &prefix);
        let dir = parent.join(format!("{prefix}{}", std::process::id()));
        fs::create_dir(&dir).map_err(|e| BundleError::write(&dir, &e))?;
        let lock = File::open(&dir).and_then(|lock| lock.lock().map(|()| lock)).map_err(|e| {
            remove_quietly(&dir);
            BundleError::write(&dir, &e)
        })?;
        Ok(Self { target: target.to_owned(), parent, dir, force, marker, _lock: lock })
    }

    /// Creates a file of the bundle; folders on the way are made. The caller syncs it.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(&self, path: &str) -> Result<File, BundleError> {
        let full = self.dir.join(path);
        if let Some(folder) = full.parent() {
            fs::create_dir_all(folder).map_err(|e| self.error(path, &e))?;
        }
        File::options().read(true).write(true).create_new(true).open(&full).map_err(|e| self.error(path, &e))
    }

    /// Writes a whole file of the bundle and syncs it.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<(), BundleError> {
        let mut file = self.create(path)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| self.error(path, &e))
    }

    /// The folder as it is now, for tools that need a path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Puts the bundle in place.
    ///
    /// # Errors
    /// What the system says; a target that appeared meanwhile, without `force`. The old bundle then stands as before.
    pub fn commit(self) -> Result<(), BundleError> {
        sync_folders(&self.dir).map_err(|e| BundleError::write(&self.target, &e))?;
        check_marked(&self.target, self.force, self.marker)?;
        self.exchange().map_err(|e| BundleError::write(&self.target, &e))?;
        File::open(&self.parent).and_then(|parent| parent.sync_all()).map_err(|e| BundleError::write(&self.parent, &e))
        // what was exchanged out is removed by drop
    }

    fn exchange(&self) -> io::Result<()> {
        let rename = |flags| renameat_with(CWD, &self.dir, CWD, &self.target, flags).map_err(io::Error::from);
        if !self.target.exists() {
            return match rename(RenameFlags::NOREPLACE) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => fs::rename(&self.dir, &self.target),
                done => done,
            };
        }
        match rename(RenameFlags::EXCHANGE) {
            // a file system without exchange: two renames, the old bundle being aside for a moment
            Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
                let aside = self.dir.with_extension("old");
                fs::rename(&self.target, &aside)?;
                if let Err(e) = fs::rename(&self.dir, &self.target) {
                    fs::rename(&aside, &self.target)?;
                    return Err(e);
                }
                fs::rename(&aside, &self.dir)
            }
            done => done,
        }
    }

    fn error(&self, path: &str, error: &io::Error) -> BundleError {
        BundleError::write(&self.target.join(path), error)
    }

    /// The error for a file of the bundle, named by the place it would have had.
    pub fn write_error(&self, path: &str, error: &io::Error) -> BundleError {
        self.error(path, error)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        remove_quietly(&self.dir);
    }
}

fn sync_folders(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(dir)?.sync_all()
}

/// Removes what killed compiles left. Nothing depends on its success.
fn remove_stale(parent: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        let is_free = File::open(entry.path()).is_ok_and(|dir| dir.try_lock().is_ok());
        if is_free {
            remove_quietly(&entry.path());
        }
    }
}

/// Leftovers are harmless, so a failure to remove them is no failure.
fn remove_quietly(dir: &Path) {
    let _ = fs::remove_dir_all(dir);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leftovers(parent: &Path) -> usize {
        fs::read_dir(parent).expect("readable").flatten().filter(|e| e.file_name().to_string_lossy().contains(MARK)).count()
    }

    #[test]
    fn a_bundle_appears_whole_or_not_at_all() {
        let parent = tempfile::tempdir().expect("temporary folder");
        let target = parent.path().join("m.slm");
        let stage = Stage::begin(&target, false).expect("nothing there");
        stage.write(MANIFEST, b"one").expect("writable");
        assert!(!target.exists());
        stage.commit().expect("commit");
        assert!(matches!(Stage::begin(&target, false), Err(BundleError::Exists { .. })));

        let dropped = Stage::begin(&target, true).expect("forced");
        dropped.write(MANIFEST, b"two").expect("writable");
        drop(dropped);
        assert_eq!(fs::read(target.join(MANIFEST)).expect("old one"), b"one");

        let stage = Stage::begin(&target, true).expect("forced");
        stage.write("include/slm.h", b"h").expect("folders are made");
        stage.write(MANIFEST, b"three").expect("writable");
        stage.commit().expect("exchange");
        assert_eq!(fs::read(target.join(MANIFEST)).expect("new one"), b"three");
        assert_eq!(leftovers(parent.path()), 0);
    }

    #[test]
    fn what_a_killed_compile_left_is_removed_and_a_living_one_is_not() {
        let parent = tempfile::tempdir().expect("temporary folder");
        let target = parent.path().join("m.slm");
        fs::create_dir_all(parent.path().join(".m.slm.slmc-tmp-1/include")).expect("leftover");
        let living = parent.path().join(".m.slm.slmc-tmp-2");
        fs::create_dir(&living).expect("living");
        let owner = File::open(&living).expect("open");
        owner.lock().expect("lock");
        let stage = Stage::begin(&target, false).expect("begin");
        assert!(living.exists());
        assert_eq!(leftovers(parent.path()), 2);
        drop(stage);
        assert_eq!(leftovers(parent.path()), 1);
    }

    #[test]
    fn other_folders_are_left_alone() {
        let parent = tempfile::tempdir().expect("temporary folder");
        fs::write(parent.path().join("thesis.txt"), "years").expect("writable");
        assert!(matches!(Stage::begin(parent.path(), true), Err(BundleError::Foreign { .. })));
    }
}

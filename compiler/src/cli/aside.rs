//! Files that a command leaves: written beside their place and renamed, so that nobody sees half of one.

use std::io::{self, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::report::Failure;

/// A file in the folder of `path`, for [`place`].
pub fn begin(path: &Path) -> Result<NamedTempFile, Failure> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    NamedTempFile::new_in(folder).map_err(|e| failed(path, &e))
}

/// Puts it in place of whatever is there.
pub fn place(file: NamedTempFile, path: &Path) -> Result<(), Failure> {
    file.persist(path).map(drop).map_err(|e| failed(path, &e.error))
}

/// A whole file.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = begin(path)?;
    file.write_all(text.as_bytes()).map_err(|e| failed(path, &e))?;
    place(file, path)
}

/// The failure of a write to `path`.
pub fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format_args!("{}: {error}", path.display()))
}

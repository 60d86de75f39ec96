//! Packages: bundles in the form in which build systems of apps take libraries.
//!
//! `apple` makes an XCFramework with a Swift package around it, `android` an AAR, `folder` a folder for C and CMake. Every
//! bundle is verified first, byte by byte, and its files are taken as they are. A package is written aside and put in place by one
//! rename; equal bundles and equal tools give equal bytes.

mod android;
mod apple;
mod error;
mod folder;
mod java;
mod zip_file;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::bundle::{Bundle, BundleError, Depth, HEADER, MANIFEST, Stage};
use crate::link::Linker;
use crate::link::archive::identifier;

pub use error::{PackageError, PackageFault};
pub use java::{Javac, bridge_library, classes};

/// The file that says what a package is and by which one is recognized.
pub const MARKER: &str = "slmc-package.json";

/// Forms of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A Swift package with an XCFramework, for Xcode.
    XcFramework,
    /// An archive of a library for Android's Gradle.
    Aar,
    /// Library, header, pkg-config file and CMake configuration.
    Folder,
}

impl Format {
    /// All, by their names on the command line.
    pub const NAMES: [(&'static str, Self); 3] = [("xcframework", Self::XcFramework), ("aar", Self::Aar), ("folder", Self::Folder)];

    /// The form that the target of a bundle suggests.
    pub fn of_triple(triple: &str) -> Self {
        match triple {
            _ if triple.contains("-apple-") => Self::XcFramework,
            _ if triple.ends_with("-android") => Self::Aar,
            _ => Self::Folder,
        }
    }
}

/// What is packaged how.
#[derive(Debug, Clone)]
pub struct PackageRequest {
    /// The bundles.
    pub bundles: Vec<PathBuf>,
    /// Where the package will stand.
    pub output: PathBuf,
    /// Its form; by default the first bundle's target decides.
    pub format: Option<Format>,
    /// Replace a package that is there.
    pub force: bool,
    /// lld for the library that Java calls, where there is one to link.
    pub linker: Option<PathBuf>,
}

/// A finished package.
#[derive(Debug, Clone, Serialize)]
pub struct Packaged {
    /// The folder.
    pub path: PathBuf,
    /// Its form.
    pub format: Format,
    /// What to hand to a build system.
    pub product: String,
    /// What is missing or different from what one might expect.
    pub notes: Vec<String>,
}

/// A verified bundle on its way into a package.
struct Part {
    bundle: Bundle,
    /// The model's name as an identifier.
    name: String,
    /// The file with its code.
    code: String,
}

/// Writes a package.
///
/// # Errors
/// Bundles that cannot be trusted or do not fit the form (all faults at once), a file that cannot be written, a linker or Java compiler
/// that fails.
pub fn package(request: &PackageRequest) -> Result<Packaged, PackageError> {
    let parts = request.bundles.iter().map(|path| part(path)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = parts.first() else { return Err(PackageError::Bundles { faults: vec![PackageFault::None] }) };
    let format = request.format.unwrap_or_else(|| Format::of_triple(&first.bundle.manifest.target.triple));
    let faults = match format {
        Format::XcFramework => apple::faults(&parts),
        Format::Aar => android::faults(&parts),
        Format::Folder => folder::faults(&parts),
    };
    if !faults.is_empty() {
        return Err(PackageError::Bundles { faults });
    }
    let stage = Stage::begin_marked(&request.output, request.force, MARKER)?;
    let (product, notes) = match format {
        Format::XcFramework => apple::write(&stage, &parts)?,
        Format::Aar => android::write(&stage, &parts, || Linker::find(request.linker.as_deref()))?,
        Format::Folder => folder::write(&stage, &parts)?,
    };
    stage.write(MARKER, marker(format, &product, &parts).as_bytes())?;
    stage.commit()?;
    Ok(Packaged { path: request.output.clone(), format, product, notes })
}

fn part(path: &Path) -> Result<Part, PackageError> {
    let bundle = Bundle::open(path)?;
    bundle.verify(Depth::Full, false)?;
    let manifest = &bundle.manifest;
    let Some(code) = manifest.target.runtime.clone() else {
        let fault = PackageFault::NoRuntime { bundle: path.to_owned(), triple: manifest.target.triple.clone() };
        return Err(PackageError::Bundles { faults: vec![fault] });
    };
    let name = identifier(&manifest.model.name);
    Ok(Part { bundle, name, code })
}

impl Part {
    fn triple(&self) -> &str {
        &self.bundle.manifest.target.triple
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, PackageError> {
        let full = self.bundle.dir.join(path);
        fs::read(&full).map_err(|e| PackageError::Read { path: full, detail: e.to_string() })
    }

    /// The files that a device needs besides the code: what the runtime maps, and the manifest.
    fn data(&self) -> Vec<&str> {
        let files = self.bundle.manifest.files.iter().map(|file| file.path.as_str());
        let mut paths: Vec<&str> = files.filter(|path| *path != self.code && *path != HEADER).collect();
        paths.push(MANIFEST);
        paths.sort_unstable();
        paths
    }

    /// Copies a file of the bundle to `place` in the package, without holding it in memory.
    fn copy(&self, stage: &Stage, path: &str, place: &str) -> Result<(), PackageError> {
        let full = self.bundle.dir.join(path);
        let mut from = File::open(&full).map_err(|e| PackageError::Read { path: full, detail: e.to_string() })?;
        let mut to = stage.create(place)?;
        io::copy(&mut from, &mut to).and_then(|_| to.sync_all()).map_err(|e| stage.write_error(place, &e))?;
        Ok(())
    }
}

/// Bundles whose `slot` is taken by an earlier one.
fn doubles(parts: &[Part], slot: impl Fn(&Part) -> String) -> Vec<PackageFault> {
    let mut faults = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let slot_name = slot(part);
        if let Some(first) = parts[..index].iter().find(|first| slot(first) == slot_name) {
            faults.push(PackageFault::Double { bundle: part.bundle.dir.clone(), first: first.bundle.dir.clone(), slot: slot_name });
        }
    }
    faults
}

/// The text of [`MARKER`].
fn marker(format: Format, product: &str, parts: &[Part]) -> String {
    #[derive(Serialize)]
    struct Marker<'a> {
        format: Format,
        product: &'a str,
        bundles: Vec<Source<'a>>,
        compiler: String,
    }
    #[derive(Serialize)]
    struct Source<'a> {
        model: &'a str,
        target: &'a str,
        digest: String,
    }
    let bundles = parts.iter().map(|part| {
        let manifest = &part.bundle.manifest;
        Source { model: &manifest.model.name, target: &manifest.target.name, digest: manifest.digest.to_string() }
    });
    let marker = Marker { format, product, bundles: bundles.collect(), compiler: format!("slmc {}", env!("CARGO_PKG_VERSION")) };
    let mut text = serde_json::to_string_pretty(&marker).expect("invariant: plain data becomes JSON");
    text.push('\n');
    text
}

/// A template with each `@KEY@` replaced.
fn filled(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    for (key, value) in values {
        text = text.replace(&format!("@{key}@"), value);
    }
    text
}

impl From<BundleError> for PackageError {
    fn from(error: BundleError) -> Self {
        Self::Bundle(error)
    }
}

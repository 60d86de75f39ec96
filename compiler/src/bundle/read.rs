//! Reading a bundle and checking it, before any of its code is loaded.
//!
//! Nothing in the folder is believed: the manifest is checked against its own digest, every other file against the
//! manifest, and a file that the manifest does not name is a fault. All faults are reported.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;
use slmc_runtime_stub::abi::ABI_VERSION;

use super::manifest::FileEntry;
use super::{BundleError, Fault, MANIFEST, MAPPED, Manifest, PLAN, STATIC_CODE, WEIGHTS, code_name, digest, plan_bin};
use crate::link;
use crate::target::machine_lacks;

/// A manifest longer than this is none.
const MANIFEST_LIMIT: u64 = 64 << 20;

/// How much of a bundle is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Everything.
    Full,
    /// Everything but the files that the stub itself checks when it opens the bundle: weights, tokenizer and shaders, for
    /// which the plan's hashes are compared with the manifest's.
    BeforeLoad,
}

/// A folder with a readable manifest.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The folder.
    pub dir: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
}

impl Bundle {
    /// Reads the manifest in `dir`.
    ///
    /// # Errors
    /// [`BundleError::NotABundle`] without one, [`BundleError::Faults`] if it is damaged.
    pub fn open(dir: &Path) -> Result<Self, BundleError> {
        let not = |detail: String| BundleError::NotABundle { path: dir.to_owned(), detail };
        let path = dir.join(MANIFEST);
        let meta = fs::metadata(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound if !dir.exists() => not("no such folder".to_owned()),
            io::ErrorKind::NotFound => not("is not a bundle: it has no manifest.json".to_owned()),
            io::ErrorKind::NotADirectory => not("is a file, not a bundle".to_owned()),
            _ => not(format!("manifest.json: {e}")),
        })?;
        if !meta.is_file() || meta.len() > MANIFEST_LIMIT {
            return Err(not("manifest.json is no manifest".to_owned()));
        }
        let faults = |detail: String| BundleError::Faults { path: dir.to_owned(), faults: vec![Fault::Manifest { detail }] };
        let bytes = fs::read(&path).map_err(|e| not(format!("manifest.json: {e}")))?;
        let text = String::from_utf8(bytes).map_err(|_| faults("is not UTF-8".to_owned()))?;
        let manifest = Manifest::parse(&text).map_err(faults)?;
        Ok(Self { dir: dir.to_owned(), manifest })
    }

    /// Checks files, hashes, plan and symbols; with `for_this_machine`, the CPU as well.
    ///
    /// # Errors
    /// [`BundleError::Faults`] with everything that is wrong.
    pub fn verify(&self, depth: Depth, for_this_machine: bool) -> Result<(), BundleError> {
        let mut faults = Vec::new();
        self.check_listing(&mut faults);
        let hashed: Vec<&FileEntry> =
            self.manifest.files.iter().filter(|file| depth == Depth::Full || !MAPPED.contains(&file.path.as_str())).collect();
        faults.extend(hashed.par_iter().flat_map_iter(|file| self.check_hash(file)).collect::<Vec<_>>());
        if depth == Depth::BeforeLoad {
            for path in MAPPED {
                if let Some(file) = self.manifest.file(path) {
                    faults.extend(self.check_size(file));
                }
            }
        }
        if faults.is_empty() {
            self.check_contents(&mut faults);
        }
        if self.manifest.minimum_runtime > ABI_VERSION {
            faults.push(Fault::Runtime { found: self.manifest.minimum_runtime, have: ABI_VERSION });
        }
        let target = &self.manifest.target;
        if for_this_machine && let Some(detail) = machine_lacks(&target.triple, &target.features) {
            faults.push(Fault::Machine { target: target.name.clone(), triple: target.triple.clone(), detail });
        }
        if for_this_machine && target.runtime.is_none() {
            faults.push(Fault::NoRuntime { triple: target.triple.clone() });
        }
        if faults.is_empty() { Ok(()) } else { Err(BundleError::Faults { path: self.dir.clone(), faults }) }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.manifest.files.iter().map(|file| file.bytes).sum()
    }

    /// Names in the manifest are plain relative paths, and the folder holds these files and no others.
    fn check_listing(&self, faults: &mut Vec<Fault>) {
        let mut known = BTreeSet::from([MANIFEST.to_owned()]);
        for file in &self.manifest.files {
            let is_plain = !file.path.is_empty() && Path::new(&file.path).components().all(|c| matches!(c, Component::Normal(_)));
            if !is_plain || !known.insert(file.path.clone()) {
                faults.push(Fault::Manifest { detail: format!("{:?} is no path in a bundle, or is listed twice", file.path) });
            }
        }
        let target = &self.manifest.target;
        let required = [Some(PLAN), Some(WEIGHTS), target.runtime.as_deref(), target.gpu.as_ref().map(|gpu| gpu.kernels.as_str())];
        for required in required.into_iter().flatten() {
            if !known.contains(required) {
                faults.push(Fault::Manifest { detail: format!("lists no {required}") });
            }
        }
        let code = code_name(&target.triple);
        if target.runtime.as_deref().is_some_and(|runtime| runtime != code) {
            faults.push(Fault::Manifest { detail: format!("names {:?} as the runtime; for {} that is {code}", target.runtime, target.triple) });
        }
        self.find_unknown(&self.dir, "", &known, faults);
    }

    fn find_unknown(&self, dir: &Path, prefix: &str, known: &BTreeSet<String>, faults: &mut Vec<Fault>) {
        let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(e) => return faults.push(Fault::Io { path: format!("{prefix}."), detail: e.to_string() }),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && known.iter().any(|k| k.starts_with(&format!("{path}/"))) => {
                    self.find_unknown(&entry.path(), &format!("{path}/"), known, faults);
                }
                Ok(kind) if kind.is_file() && known.contains(&path) => {}
                Ok(kind) if kind.is_symlink() && known.contains(&path) => {
                    faults.push(Fault::Io { path, detail: "is a link; a bundle holds plain files".to_owned() });
                }
                _ => faults.push(Fault::Unknown { path }),
            }
        }
    }

    fn check_size(&self, file: &FileEntry) -> Option<Fault> {
        match fs::metadata(self.dir.join(&file.path)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Some(Fault::Missing { path: file.path.clone() }),
            Err(e) => Some(Fault::Io { path: file.path.clone(), detail: e.to_string() }),
            Ok(meta) if meta.len() != file.bytes => Some(Fault::Size { path: file.path.clone(), found: meta.len(), expected: file.bytes }),
            Ok(_) => None,
        }
    }

    fn check_hash(&self, file: &FileEntry) -> Option<Fault> {
        if let Some(fault) = self.check_size(file) {
            return Some(fault);
        }
        let path = file.path.clone();
        let found = match digest::of_file(&self.dir.join(&path)) {
            Ok(found) => found,
            Err(e) => return Some(Fault::Io { path, detail: e.to_string() }),
        };
        if found.sha256 == file.sha256 && (file.chunks.is_empty() || file.chunks == found.chunks) {
            return None;
        }
        let chunk = found.chunks.iter().zip(&file.chunks).position(|(found, stated)| found != stated);
        let (found, expected) = match chunk {
            Some(i) => (found.chunks[i], file.chunks[i]),
            None => (found.sha256, file.sha256),
        };
        Some(Fault::Hash { path, chunk, found, expected })
    }

    /// What the files say of each other, once their bytes are known to be the manifest's.
    fn check_contents(&self, faults: &mut Vec<Fault>) {
        match fs::read(self.dir.join(PLAN)) {
            Err(e) => faults.push(Fault::Io { path: PLAN.to_owned(), detail: e.to_string() }),
            Ok(plan) => faults.extend(plan_bin::disagreements(&plan, &self.manifest).into_iter().map(|detail| Fault::Plan { detail })),
        }
        let Some(code) = &self.manifest.target.runtime else {
            if !self.manifest.privacy.undefined_symbols.is_empty() {
                faults.push(Fault::Manifest { detail: "its privacy section speaks of code, but the bundle has none".to_owned() });
            }
            return;
        };
        let symbols = fs::read(self.dir.join(code)).map_err(|e| e.to_string());
        let report = |bytes: Vec<u8>| match code.as_str() {
            STATIC_CODE => link::archive::symbols_of_archive(&bytes).map_err(|e| e.to_string()),
            _ => link::undefined_of_shared(&bytes).map_err(|e| e.to_string()),
        };
        match symbols.and_then(report) {
            Err(detail) => faults.push(Fault::Io { path: code.clone(), detail }),
            Ok(report) => {
                let network: Vec<&str> = report.undefined.iter().map(String::as_str).filter(|s| link::libc_table::reaches_network(s)).collect();
                if !network.is_empty() {
                    faults.push(Fault::Network { path: code.clone(), symbols: network.join(", ") });
                }
                if report.undefined != self.manifest.privacy.undefined_symbols {
                    faults.push(Fault::Manifest { detail: format!("its privacy section is not what {code} says") });
                }
            }
        }
    }
}

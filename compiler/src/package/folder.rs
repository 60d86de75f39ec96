//! A folder for C and C++: library, header, pkg-config file, CMake configuration, and the bundle.
//!
//! All paths in it are relative, so it may be moved. Bundles of several models for one system share the folder.

use super::{PackageError, PackageFault, Part, doubles, filled};
use crate::bundle::{HEADER, STATIC_CODE, Stage, library_name};

const PKG_CONFIG: &str = include_str!("templates/model.pc");
const CMAKE_SHARED: &str = include_str!("templates/shared.cmake");
const CMAKE_STATIC: &str = include_str!("templates/static.cmake");

/// What hinders.
pub(super) fn faults(parts: &[Part]) -> Vec<PackageFault> {
    let first = parts[0].triple();
    let other = parts.iter().filter(|part| part.triple() != first).map(|part| PackageFault::Triple {
        bundle: part.bundle.dir.clone(),
        triple: part.triple().to_owned(),
        expected: "a folder holds bundles for one system, that of the first",
    });
    other.chain(doubles(parts, |part| format!("model {}", part.name))).collect()
}

/// Writes the package: what to hand to a build, and notes.
pub(super) fn write(stage: &Stage, parts: &[Part]) -> Result<(String, Vec<String>), PackageError> {
    for part in parts {
        let manifest = &part.bundle.manifest;
        let name = &part.name;
        let is_static = part.code == STATIC_CODE;
        let library = if is_static { format!("lib{name}.a") } else { library_name(&manifest.model.name) };
        // Names in a static library are the model's own, in a shared one all models have the same.
        let header = if is_static { format!("{name}.h") } else { "slm.h".to_owned() };
        part.copy(stage, &part.code, &format!("lib/{library}"))?;
        if is_static || name == &parts[0].name {
            stage.write(&format!("include/{header}"), &part.read(HEADER)?)?;
        }
        let frameworks = match (is_static, &manifest.target.gpu) {
            (true, Some(_)) => " -framework Metal -framework Foundation -framework CoreGraphics -lobjc",
            _ => "",
        };
        let cmake_frameworks = if frameworks.is_empty() {
            ""
        } else {
            "\n  INTERFACE_LINK_LIBRARIES \"-framework Metal;-framework Foundation;-framework CoreGraphics;objc\""
        };
        let values = [
            ("NAME", name.as_str()),
            ("MODEL", &manifest.model.name.replace('\n', " ")),
            ("LIBRARY", &library),
            ("HEADER", &header),
            ("FRAMEWORKS", frameworks),
            ("CMAKE_FRAMEWORKS", cmake_frameworks),
            ("RPATH", if is_static { "" } else { " -Wl,-rpath,${libdir}" }),
        ];
        stage.write(&format!("lib/pkgconfig/{name}.pc"), filled(PKG_CONFIG, &values).as_bytes())?;
        let cmake = if is_static { CMAKE_STATIC } else { CMAKE_SHARED };
        stage.write(&format!("lib/cmake/{name}/{name}-config.cmake"), filled(cmake, &values).as_bytes())?;
        let paths = manifest.files.iter().map(|file| file.path.as_str()).chain([crate::bundle::MANIFEST]);
        for path in paths {
            part.copy(stage, path, &format!("share/slm/{name}.slm/{path}"))?;
        }
    }
    Ok((format!("lib/pkgconfig/{}.pc", parts[0].name), Vec::new()))
}

//! An AAR: the libraries of one or several models with the bridge to Java, the class `slmc.Model`, and the bundles' data as assets.
//!
//! No Gradle and no Android SDK take part. The bridge and the class are in an archive once, so models of one app come in one AAR.
//! Class files are made by a Java compiler if this machine has one; else the package says that the app must compile the sources.

use std::io::{Cursor, Write as _};

use super::java::{Javac, SOURCES, bridge_library, classes};
use super::zip_file::Archive;
use super::{PackageError, PackageFault, Part, doubles, filled};
use crate::bundle::{CODE, Stage, library_name};
use crate::link::{LinkError, Linker};

/// The one system that the archive is for, and its name there.
const TRIPLE: &str = "aarch64-linux-android";
const ABI: &str = "arm64-v8a";
/// The library that Java loads.
const BRIDGE: &str = "libslmc_jni.so";

const KOTLIN: &str = include_str!("templates/Answers.kt");
const README: &str = include_str!("templates/android-readme.txt");

/// Keeps code shrinkers from renaming what the bridge looks up by name.
const RULES: &str =
    "-keep class slmc.Model { native <methods>; }\n-keepclassmembers class * implements slmc.Model$Pieces { boolean piece(int, byte[]); }\n";

/// What hinders.
pub(super) fn faults(parts: &[Part]) -> Vec<PackageFault> {
    let wrong = parts.iter().filter(|part| part.triple() != TRIPLE).map(|part| PackageFault::Triple {
        bundle: part.bundle.dir.clone(),
        triple: part.triple().to_owned(),
        expected: "an AAR holds bundles for aarch64-linux-android",
    });
    wrong.chain(doubles(parts, |part| format!("model {}", part.name))).collect()
}

/// Writes the package: what to hand to Gradle, and notes.
pub(super) fn write(
    stage: &Stage,
    parts: &[Part],
    linker: impl FnOnce() -> Result<Linker, LinkError>,
) -> Result<(String, Vec<String>), PackageError> {
    let bridge = bridge_library(&linker()?, TRIPLE)?;
    let product = format!("{}.aar", parts[0].name);
    let mut notes = Vec::new();
    let jar = match Javac::find() {
        Some(javac) => Some(jar(&classes(&javac)?)?),
        None => {
            notes.push("has no class files, as this machine has no Java compiler: put sources/slmc/Model.java into the app".to_owned());
            None
        }
    };
    let out = stage.create(&product)?;
    let mut archive = Archive::new(&product, out);
    let manifest = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<manifest xmlns:android=\"http://schemas.android.com/apk/res/android\" package=\"slmc.{}\">\n    \
         <uses-sdk android:minSdkVersion=\"24\" />\n</manifest>\n",
        parts[0].name
    );
    archive.add("AndroidManifest.xml", manifest.as_bytes())?;
    // An empty archive of classes is allowed, a missing one is not.
    archive.add("classes.jar", &jar.map_or_else(|| self::jar(&[]), Ok)?)?;
    archive.add("R.txt", b"")?;
    archive.add("proguard.txt", RULES.as_bytes())?;
    archive.add(&format!("jni/{ABI}/{BRIDGE}"), &bridge)?;
    for part in parts {
        let model = &part.bundle.manifest.model.name;
        archive.add_file(&format!("jni/{ABI}/{}", library_name(model)), &part.bundle.dir.join(CODE))?;
        let data = part.data();
        for path in &data {
            archive.add_file(&format!("assets/slm/{}/{path}", part.name), &part.bundle.dir.join(path))?;
        }
        archive.add(&format!("assets/slm/{}/files.txt", part.name), (data.join("\n") + "\n").as_bytes())?;
    }
    let mut out = archive.finish()?;
    out.flush().and_then(|()| out.sync_all()).map_err(|e| stage.write_error(&product, &e))?;

    for (path, source) in SOURCES {
        stage.write(&format!("sources/{path}"), source.as_bytes())?;
    }
    stage.write("sources/slmc/Answers.kt", KOTLIN.as_bytes())?;
    let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
    let values = [("AAR", product.as_str()), ("NAME", names[0]), ("NAMES", &names.join("`, `"))];
    stage.write("README.md", filled(README, &values).as_bytes())?;
    Ok((product, notes))
}

fn jar(classes: &[(String, Vec<u8>)]) -> Result<Vec<u8>, PackageError> {
    let mut jar = Archive::new("classes.jar", Cursor::new(Vec::new()));
    jar.add("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\r\n\r\n")?;
    for (path, bytes) in classes {
        jar.add(path, bytes)?;
    }
    Ok(jar.finish()?.into_inner())
}

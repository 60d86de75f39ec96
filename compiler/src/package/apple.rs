//! An XCFramework, static libraries for devices, simulator and Macs, in a Swift package.
//!
//! Headers lie in a folder of the module's name below `Headers`: build systems copy the headers of all frameworks to one place,
//! where two module maps of one name would meet. The data of each bundle lies beside the framework, not in it, as each system wants
//! its own and an app ships one.

use super::{PackageError, PackageFault, Part, doubles, filled};
use crate::bundle::{HEADER, STATIC_CODE, Stage};

const SWIFT: &str = include_str!("templates/Model.swift");
const MANIFEST: &str = include_str!("templates/Package.swift");
const README: &str = include_str!("templates/apple-readme.txt");

/// What Metal's bundles are linked with.
const METAL_SETTINGS: &str =
    ", linkerSettings: [.linkedFramework(\"Metal\"), .linkedFramework(\"Foundation\"), .linkedFramework(\"CoreGraphics\"), .linkedLibrary(\"objc\")]";

/// A place in an XCFramework.
struct Slice {
    triple: &'static str,
    /// Identifier and name of the folder.
    folder: &'static str,
    platform: &'static str,
    variant: Option<&'static str>,
}

const SLICES: [Slice; 3] = [
    Slice { triple: "aarch64-apple-ios", folder: "ios-arm64", platform: "ios", variant: None },
    Slice { triple: "aarch64-apple-ios-sim", folder: "ios-arm64-simulator", platform: "ios", variant: Some("simulator") },
    Slice { triple: "aarch64-apple-darwin", folder: "macos-arm64", platform: "macos", variant: None },
];

fn slice(part: &Part) -> Option<&'static Slice> {
    SLICES.iter().find(|slice| slice.triple == part.triple())
}

/// What hinders.
pub(super) fn faults(parts: &[Part]) -> Vec<PackageFault> {
    let mut faults = Vec::new();
    for part in parts {
        if slice(part).is_none() {
            faults.push(PackageFault::Triple {
                bundle: part.bundle.dir.clone(),
                triple: part.triple().to_owned(),
                expected: "an XCFramework holds bundles for aarch64-apple-ios, -ios-sim and -darwin",
            });
        }
        if part.name != parts[0].name {
            faults.push(PackageFault::Model { bundle: part.bundle.dir.clone(), found: part.name.clone(), expected: parts[0].name.clone() });
        }
    }
    faults.extend(doubles(parts, |part| part.triple().to_owned()));
    faults
}

/// Writes the package: what to hand to Xcode, and notes.
pub(super) fn write(stage: &Stage, parts: &[Part]) -> Result<(String, Vec<String>), PackageError> {
    let name = &parts[0].name;
    let module = camel(name);
    let c_module = format!("C{module}");
    let framework = format!("{c_module}.xcframework");
    let header = format!("{name}.h");
    let mut present: Vec<(&Slice, &Part)> = SLICES.iter().filter_map(|s| Some((s, parts.iter().find(|p| p.triple() == s.triple)?))).collect();
    present.sort_by_key(|(slice, _)| slice.folder);
    for (slice, part) in &present {
        let place = format!("{framework}/{}", slice.folder);
        part.copy(stage, STATIC_CODE, &format!("{place}/lib{name}.a"))?;
        stage.write(&format!("{place}/Headers/{c_module}/{header}"), &part.read(HEADER)?)?;
        let map = format!("module {c_module} {{\n    header \"{header}\"\n    export *\n}}\n");
        stage.write(&format!("{place}/Headers/{c_module}/module.modulemap"), map.as_bytes())?;
        for path in part.data() {
            part.copy(stage, path, &format!("Bundles/{}/{name}.slm/{path}", slice.folder))?;
        }
    }
    stage.write(&format!("{framework}/Info.plist"), info_plist(name, &present).as_bytes())?;

    let has_gpu = parts.iter().any(|part| part.bundle.manifest.target.gpu.is_some());
    let systems = [("ios", ".iOS(.v15)"), ("macos", ".macOS(.v13)")];
    let systems: Vec<&str> = systems.iter().filter(|(p, _)| present.iter().any(|(s, _)| s.platform == *p)).map(|(_, text)| *text).collect();
    let settings = if has_gpu { METAL_SETTINGS } else { "" };
    let upper = name.to_ascii_uppercase();
    let values = [
        ("MODULE", module.as_str()),
        ("CMODULE", &c_module),
        ("NAME", name),
        ("p", name),
        ("P", &upper),
        ("SYSTEMS", &systems.join(", ")),
        ("SETTINGS", settings),
    ];
    stage.write("Package.swift", filled(MANIFEST, &values).as_bytes())?;
    stage.write(&format!("Sources/{module}/{module}.swift"), filled(SWIFT, &values).as_bytes())?;
    stage.write("README.md", filled(README, &values).as_bytes())?;
    let missing = SLICES.iter().filter(|s| !present.iter().any(|(p, _)| p.triple == s.triple)).map(|s| s.folder);
    let missing: Vec<&str> = missing.collect();
    let mut notes = Vec::new();
    if !missing.is_empty() {
        notes.push(format!("has no slice for {}: an app does not build there", missing.join(", ")));
    }
    Ok((framework, notes))
}

/// `tiny_llama` as Swift names types: `TinyLlama`.
fn camel(name: &str) -> String {
    let mut out = String::new();
    for word in name.split('_') {
        let mut chars = word.chars();
        out.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        out.extend(chars);
    }
    out
}

fn info_plist(name: &str, slices: &[(&Slice, &Part)]) -> String {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n<dict>\n\t<key>AvailableLibraries</key>\n\t<array>\n",
    );
    for (slice, _) in slices {
        text.push_str("\t\t<dict>\n");
        let library = format!("lib{name}.a");
        let pairs = [("BinaryPath", library.as_str()), ("HeadersPath", "Headers"), ("LibraryIdentifier", slice.folder), ("LibraryPath", &library)];
        for (key, value) in pairs {
            text.push_str(&format!("\t\t\t<key>{key}</key>\n\t\t\t<string>{value}</string>\n"));
        }
        text.push_str("\t\t\t<key>SupportedArchitectures</key>\n\t\t\t<array>\n\t\t\t\t<string>arm64</string>\n\t\t\t</array>\n");
        text.push_str(&format!("\t\t\t<key>SupportedPlatform</key>\n\t\t\t<string>{}</string>\n", slice.platform));
        if let Some(variant) = slice.variant {
            text.push_str(&format!("\t\t\t<key>SupportedPlatformVariant</key>\n\t\t\t<string>{variant}</string>\n"));
        }
        text.push_str("\t\t</dict>\n");
    }
    text.push_str("\t</array>\n\t<key>CFBundlePackageType</key>\n\t<string>XFWK</string>\n");
    text.push_str("\t<key>XCFrameworkFormatVersion</key>\n\t<string>1.0</string>\n</dict>\n</plist>\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_have_the_models_name_in_camel_case() {
        assert_eq!(camel("tinyllama_1_1b_chat"), "Tinyllama11bChat");
        assert_eq!(camel("m_7b"), "M7b");
    }
}

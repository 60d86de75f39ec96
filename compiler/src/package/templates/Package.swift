// swift-tools-version:5.7
import PackageDescription

let package = Package(
    name: "@MODULE@",
    platforms: [@SYSTEMS@],
    products: [.library(name: "@MODULE@", targets: ["@MODULE@"])],
    targets: [
        .binaryTarget(name: "@CMODULE@", path: "@CMODULE@.xcframework"),
        .target(name: "@MODULE@", dependencies: ["@CMODULE@"]@SETTINGS@),
    ]
)

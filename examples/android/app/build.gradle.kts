plugins {
    id("com.android.application") version "8.7.0"
}

android {
    namespace = "example.warehouse"
    compileSdk = 35
    defaultConfig {
        applicationId = "example.warehouse"
        minSdk = 24
        targetSdk = 35
        versionCode = 1
        versionName = "1"
        ndk { abiFilters += "arm64-v8a" }
    }
    // Weights do not shrink, and packing them would only slow the build.
    androidResources { noCompress += "bin" }
}

dependencies {
    implementation(files("libs/warehouse.aar"))
}

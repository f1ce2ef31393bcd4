plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.kotlin.android)
}

android {
    namespace = "app.palmtop.demo"
    compileSdk =
        libs.versions.compileSdk
            .get()
            .toInt()
    defaultConfig {
        applicationId = "app.palmtop.demo"
        minSdk =
            libs.versions.minSdk
                .get()
                .toInt()
        // From 35 on Android draws an app's screen below its own bars, which nobody has seen this one do.
        targetSdk = 34
        versionCode = 1
        versionName = "1"
        // What a benchmark says it ran in.
        resValue("string", "litert_version", libs.versions.litert.get())
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    buildTypes {
        release {
            isMinifyEnabled = true
            isShrinkResources = true
            proguardFiles(getDefaultProguardFile("proguard-android-optimize.txt"))
        }
    }
    androidResources {
        // A model is mapped from the APK as it lies there, so it must not be compressed.
        noCompress += "tflite"
    }
}

kotlin {
    jvmToolchain(
        libs.versions.jvm
            .get()
            .toInt(),
    )
}

dependencies {
    implementation(project(":engine"))
}

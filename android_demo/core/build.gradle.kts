plugins {
    alias(libs.plugins.kotlin.jvm)
}

kotlin {
    explicitApi()
    jvmToolchain(
        libs.versions.jvm
            .get()
            .toInt(),
    )
}

dependencies {
    // Android brings it; the JVM has to be given it.
    compileOnly(libs.json)
    testImplementation(libs.json)
    testImplementation(libs.junit)
}

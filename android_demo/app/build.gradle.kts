plugins {
    id("com.android.application")
    kotlin("android")
}

android {
    namespace = "org.pocketcrafter.app"
    compileSdk = 36
    defaultConfig {
        applicationId = "org.pocketcrafter.app"
        minSdk = 26
        targetSdk = 36
        versionCode = 1
        versionName = "1.0"
        ndk { abiFilters += "arm64-v8a" }
    }
    buildTypes {
        getByName("release") {
            isMinifyEnabled = true
            proguardFiles("proguard-rules.pro")
        }
    }
    // The part of a bundle for the target `onnx`, from `pocketcrafter split`: put it there as default.pcbundle.
    sourceSets["main"].assets.srcDirs("src/main/assets")
    androidResources { noCompress += "pcbundle" }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }
}

kotlin {
    compilerOptions {
        jvmTarget.set(org.jetbrains.kotlin.gradle.dsl.JvmTarget.JVM_11)
    }
}

dependencies {
    implementation(project(":sdk"))
    implementation("org.jetbrains.kotlinx:kotlinx-coroutines-core:1.8.0")
}

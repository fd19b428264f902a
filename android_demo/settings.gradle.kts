// For Android Studio. Not built here: Google's and Maven's repositories cannot be reached where this is tested, which
// compiles the same sources with android_demo/build.py. A test holds the dependencies to what is compiled there.
pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

dependencyResolutionManagement {
    repositoriesMode.set(RepositoriesMode.FAIL_ON_PROJECT_REPOS)
    repositories {
        google()
        mavenCentral()
    }
}

rootProject.name = "pocketcrafter-android"
include(":sdk", ":app")

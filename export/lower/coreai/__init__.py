"""Core AI assets (`.aimodel`) for iOS 27, proved by Apple's own runtime, which runs on Linux too."""

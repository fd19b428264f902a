"""What `build.py` works with: fetched tools, stub classes of Android's API, compilers, and the APK."""

"""What each stage of the build does, in a process of its own."""

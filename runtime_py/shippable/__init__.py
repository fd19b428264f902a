"""What teams trip over when an app with a bundle goes to a store: read from the package, without running it."""

"""The on-device reference runtime: bundle, backends, photos, rendering, command line; never imports torch at import."""

"""The on-device reference runtime: bundle, backends, photo I/O, rendering and the command line; never imports torch at import time."""

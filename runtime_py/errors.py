"""The exceptions that PocketCrafter raises on purpose: each says what was wrong, where, and what to do next."""


class PocketCrafterError(Exception):
    """Base of every error that is meant for a person; the command line prints it without a traceback."""

    exit_code = 2


class GateError(PocketCrafterError):
    """A quality or parity gate was not met."""

    exit_code = 1


class ShapeMismatchError(PocketCrafterError):
    """Two arrays that must have one shape do not."""


class PhotoError(PocketCrafterError):
    """A photo cannot be read, or is not of what its format can hold."""


class StorageError(PocketCrafterError):
    """A file or folder cannot be written: no room, no right, or a device that fails."""


class BundleError(PocketCrafterError):
    """A bundle is damaged, incomplete, or not what its manifest says."""


class BackendError(PocketCrafterError):
    """A backend is missing, or cannot run what it was asked to."""


class NotExactHereError(BackendError):
    """An artifact runs here, but this processor's integer arithmetic would not give its numbers."""


class NotRunHereError(BackendError):
    """An artifact is whole, and what stands for its device on this machine cannot run it: a device must."""


class ConfigError(PocketCrafterError):
    """A configuration file or option is not valid."""


class NoPipelineError(ConfigError):
    """A bundle holds networks that nothing here makes a photo's critique or enhancement of."""


class CalibrationError(ConfigError):
    """Calibration data is too little, or says nothing of what an input can be."""

"""What goes wrong with a device on a cable, each with what to do next."""

from pocketcrafter.runtime.errors import PocketCrafterError


class DeviceError(PocketCrafterError):
    """A device, or what talks to it, does not do what it should."""


class NoDeviceError(DeviceError):
    """No device is there, or none of the name that was given."""


class SeveralDevicesError(DeviceError):
    """More than one device is there, and none was named."""


class UnauthorizedError(DeviceError):
    """The device has not been told to trust this computer."""


class DisconnectedError(DeviceError):
    """The device went away, or does not answer."""


class DeviceFullError(DeviceError):
    """The device has no room for what is to be pushed."""


class WrongAbiError(DeviceError):
    """The runner was compiled for another processor."""


class RunnerError(DeviceError):
    """The runner ended with an error of its own."""


class RunnerKilledError(RunnerError):
    """The runner was killed."""

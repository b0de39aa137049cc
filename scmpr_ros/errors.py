"""Every error this package raises on purpose.

A message says what was found, where, and what to do about it. Console scripts and nodes catch
`ScmprError` and print it without a traceback; anything else is a bug and keeps its traceback.
"""


class ScmprError(Exception):
    """Root of all errors that a user can cause and mend."""


class ConfigError(ScmprError):
    """A setting is unknown, of the wrong type, or out of range."""


class DatasetError(ScmprError):
    """A recording or a point cloud is missing, truncated, empty or of an unsupported kind."""


class CalibrationError(ScmprError):
    """Camera intrinsics or extrinsics are missing or impossible."""


class CheckpointError(ScmprError):
    """A weight file does not fit the network that should load it."""


class MapFormatError(ScmprError):
    """A place map on disk is incomplete, of another format, or made by another checkpoint."""


class ShapeError(ScmprError):
    """An array does not have the shape, dtype or encoding that was asked for."""

    @classmethod
    def of(cls, name: str, expected: object, actual: object) -> "ShapeError":
        """Build the usual message: `name` should be `expected`, but is `actual`."""
        return cls(f"{name}: expected {expected}, got {actual}")

"""Errors that the package raises deliberately.

A message states what was found, where, and what to do about it. Console scripts and nodes print a
`ScmprError` without a traceback; any other exception is a bug and keeps its traceback.
"""


class ScmprError(Exception):
    """Base class of errors that a user can fix."""


class ConfigError(ScmprError):
    """A setting is unknown, of the wrong type, or out of range."""


class DatasetError(ScmprError):
    """A recording or point cloud is missing, truncated, empty or of an unsupported format."""


class CalibrationError(ScmprError):
    """Camera intrinsics or extrinsics are missing or impossible."""


class CheckpointError(ScmprError):
    """A weight file does not match the network that loads it."""


class MapFormatError(ScmprError):
    """A place map on disk is incomplete, in another format, or made by another checkpoint."""


class ShapeError(ScmprError):
    """An array does not have the expected shape, dtype or encoding."""

    @classmethod
    def of(cls, name: str, expected: object, actual: object) -> "ShapeError":
        """Format the standard message: `name` should be `expected` but is `actual`."""
        return cls(f"{name}: expected {expected}, got {actual}")

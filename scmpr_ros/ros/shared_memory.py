"""Check that shared memory holds what the Fast DDS profile asks for.

Fast DDS allocates one segment per process in /dev/shm. Where it does not fit, as in a container
with Docker's default of 64 MB, messages get lost without an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

_PROFILE = "FASTDDS_DEFAULT_PROFILES_FILE"
_NAMESPACE = "{http://www.eprosima.com}"


def shared_memory_problem(
    environment: Mapping[str, str], folder: Path = Path("/dev/shm")
) -> str | None:
    """Return a warning if `folder` has less space than the profile's segments take, else None.

    environment: names the profile and the middleware, as `os.environ` does.
    """
    profile = environment.get(_PROFILE, "")
    if not profile or "fastrtps" not in environment.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp"):
        return None
    needed = _segment_bytes(Path(profile))
    if not needed or not folder.is_dir():
        return None
    space = os.statvfs(folder)
    free = space.f_bavail * space.f_frsize
    if free >= needed:
        return None
    return (
        f"{folder} has {free / 1e6:.0f} MB free, but the Fast DDS profile {profile} takes "
        f"{needed / 1e6:.0f} MB in each process: large messages will be lost. Enlarge it (docker "
        "run --shm-size=1g), delete what killed processes left there (fastdds shm clean), or lower "
        "segment_size in the profile"
    )


def _segment_bytes(profile: Path) -> int:
    """Sum of the segment sizes of a profile's shared memory transports; 0 if it is unreadable."""
    try:
        root = ElementTree.parse(profile).getroot()
        return sum(
            int(transport.findtext(f"{_NAMESPACE}segment_size", "0"))
            for transport in root.iter(f"{_NAMESPACE}transport_descriptor")
            if transport.findtext(f"{_NAMESPACE}type", "") == "SHM"
        )
    except (OSError, ElementTree.ParseError, ValueError):
        return 0  # Fast DDS reports it

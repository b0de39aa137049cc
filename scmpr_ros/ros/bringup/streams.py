"""What the checker heard on one topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Endpoint:
    """A publisher of a topic.

    node: fully qualified name. kind: message type, such as sensor_msgs/msg/Image.
    """

    node: str
    kind: str
    reliable: bool = True
    latched: bool = False


@dataclass(frozen=True)
class Arrival:
    """When a message came.

    received_s: steady time. now_ns: ROS time, simulated or not. stamp_ns: of the header.
    """

    received_s: float
    now_ns: int
    stamp_ns: int


@dataclass
class Stream:
    """Publishers, arrivals and messages of a topic.

    messages: all of them, or of images the newest only.
    seen: how often each set of properties came, such as the sizes and encodings of images.
    """

    topic: str
    kind: str
    publishers: Sequence[Endpoint] = ()
    arrivals: list[Arrival] = field(default_factory=list)
    messages: list[Any] = field(default_factory=list)
    seen: dict[tuple[Any, ...], int] = field(default_factory=dict)

    @property
    def newest(self) -> Any:
        """The newest message; None if none came."""
        return self.messages[-1] if self.messages else None

    @property
    def of_kind(self) -> list[Endpoint]:
        """Publishers of the expected type."""
        return [publisher for publisher in self.publishers if publisher.kind == self.kind]

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """Header stamps in the order of arrival, (N,)."""
        return np.array([arrival.stamp_ns for arrival in self.arrivals], dtype=np.int64)

    @property
    def rate_hz(self) -> float:
        """Messages a second; 0 if fewer than two came."""
        times_s = [arrival.received_s for arrival in self.arrivals]
        if len(times_s) < 2 or times_s[-1] <= times_s[0]:
            return 0.0
        return (len(times_s) - 1) / (times_s[-1] - times_s[0])

    @property
    def lost_share(self) -> float:
        """Share of messages that are missing, from gaps between the stamps; 0 if unknown."""
        gaps_ns = np.diff(self.stamps_ns)
        gaps_ns = gaps_ns[gaps_ns > 0]
        if len(gaps_ns) < 4:
            return 0.0
        sent = np.rint(gaps_ns / np.percentile(gaps_ns, 10)).clip(1).sum()
        return float(1 - len(gaps_ns) / sent)


def names(publishers: Sequence[Endpoint]) -> str:
    """The publishers' nodes, as text."""
    return ", ".join(sorted({publisher.node for publisher in publishers})) or "nobody"

"""Quality of service: the profiles that publishers and subscribers of this package agree on."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy


def latched(depth: int) -> QoSProfile:
    """Return a reliable profile with which late subscribers get the last `depth` messages.

    A subscription with it matches latched publishers only.
    """
    return QoSProfile(depth=depth, durability=DurabilityPolicy.TRANSIENT_LOCAL)


LATCHED = latched(1)


def is_latched(profile: QoSProfile) -> bool:
    """Whether a publisher with this profile matches a subscription with `LATCHED`."""
    return (
        profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        and profile.reliability == ReliabilityPolicy.RELIABLE
    )


def image_qos(queue_size: int, reliable: bool) -> QoSProfile:
    """Return the profile of image subscriptions: volatile, so that it matches every publisher.

    reliable: deliver every image; then only reliable publishers match.
    """
    reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    return QoSProfile(depth=max(5, queue_size), reliability=reliability)


MATCHES_ALL = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Of subscriptions to small messages: matches every publisher."""

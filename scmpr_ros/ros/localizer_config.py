"""Parameters of the localizer node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from scmpr_ros.errors import ConfigError
from scmpr_ros.pipeline.localizer import LocalizerConfig
from scmpr_ros.pipeline.states import StateConfig
from scmpr_ros.records import Mount
from scmpr_ros.ros.match_messages import CovarianceConfig


@dataclass(frozen=True)
class LocalizerNodeConfig:
    """Parameters of the localizer node."""

    checkpoint: str = ""
    """Weight file (safetensors) of the network that built the map; empty: the shipped one."""
    map: str = ""
    """Directory of the place map; empty: wait for the map loader to announce one."""
    map_frame: str = "map"
    """Frame of every published pose."""
    odom_frame: str = "odom"
    """Odometry frame, for broadcast_tf."""
    base_frame: str = "base_link"
    """Frame whose pose is published, for broadcast_tf."""
    mount: Mount = field(default_factory=Mount)
    image_transport: Literal["any", "raw", "compressed"] = "any"
    """Subscribe to `image` (raw), `image/compressed` (compressed) or both (any). An image that
    comes on both is answered once."""
    reliable_images: bool = False
    """Use reliable delivery for images; the publisher must be reliable, too."""
    queue_size: int = 1
    """Number of images that may wait while one is localised; the oldest is dropped."""
    camera_info_timeout_s: float = 2.0
    """Warn when an image has waited this long for camera_info."""
    relocalize_timeout_s: float = 5.0
    """How long ~/relocalize waits for the next image."""
    publish_lost_poses: bool = True
    """Publish ~/pose in the state LOST, too; switch off if a filter consumes every pose."""
    publish_initialpose: bool = False
    """Publish `initialpose` for AMCL: the first LOCALIZED pose after activation, after a change of
    the map, and after each call of ~/relocalize or ~/reinitialize."""
    broadcast_tf: bool = False
    """Broadcast map -> odom while LOCALIZED; needs tf2_ros and odom -> base in TF."""
    autostart: bool = True
    """Configure and activate at start; set to false if a lifecycle manager does it."""
    bond: bool = False
    """Publish a heartbeat on `bond` while active, as Nav2's lifecycle manager expects; needs the
    package bond."""
    state: StateConfig = field(default_factory=StateConfig)
    covariance: CovarianceConfig = field(default_factory=CovarianceConfig)
    localizer: LocalizerConfig = field(default_factory=LocalizerConfig)
    RUNTIME: ClassVar[tuple[str, ...]] = (
        "queue_size", "camera_info_timeout_s", "relocalize_timeout_s", "publish_lost_poses",
        "state.*", "covariance.*",
    )  # fmt: skip
    """Parameters that can be set while the node is configured; see `ros.parameters`."""

    def __post_init__(self) -> None:
        if self.queue_size < 1:
            raise ConfigError(f"queue_size must be at least 1, got {self.queue_size}")
        for name in ("camera_info_timeout_s", "relocalize_timeout_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be positive, got {getattr(self, name)}")

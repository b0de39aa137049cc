"""Parameters of the localizer node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from scmpr_ros.datasets.camera_images import CameraImageConfig
from scmpr_ros.errors import ConfigError
from scmpr_ros.pipeline.localizer import LocalizerConfig
from scmpr_ros.pipeline.tracking_localizer import TrackingConfig
from scmpr_ros.records import Mount


@dataclass(frozen=True)
class MountConfig(Mount):
    """Where the camera sits on the vehicle, and who says so."""

    source: Literal["auto", "tf", "parameters"] = "auto"
    """Take the mount from TF (base_frame -> the images' frame_id), from xyz and rpy, or from TF
    where it is published and else from these (auto)."""


@dataclass(frozen=True)
class OdometryConfig:
    """Where the motion between images comes from."""

    source: Literal["auto", "tf", "topic", "none"] = "auto"
    """Take odometry from TF (odom_frame -> base_frame), from the topic `odom`, from the topic if
    it comes and else from TF (auto), or guess the motion (none)."""
    timeout_s: float = 0.1
    """How long an image waits for odometry that is on its way."""
    max_gap_s: float = 0.5
    """Odometry is not interpolated between messages further apart."""

    def __post_init__(self) -> None:
        for name in ("timeout_s", "max_gap_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"odometry.{name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True)
class LastPoseConfig:
    """The pose that is kept for the next start in the same map."""

    path: str = ""
    """File of the last LOCALIZED pose; empty: none is kept."""
    period_s: float = 5.0
    """It is written at most this often, and on deactivation."""
    probability: float = 0.5
    """That the vehicle is still near that pose at the next start."""
    position_std_m: float = 3.0
    """How far it may have been moved meanwhile, as a standard deviation."""
    angle_std_rad: float = 0.35
    """How far it may have been turned meanwhile, as a standard deviation."""

    def __post_init__(self) -> None:
        for name in ("period_s", "position_std_m", "angle_std_rad"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"last_pose.{name} must be positive, got {getattr(self, name)}")
        if not 0 < self.probability < 1:
            raise ConfigError(
                f"last_pose.probability must lie between 0 and 1, got {self.probability}"
            )


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
    """Odometry frame in TF, for odometry and broadcast_tf."""
    base_frame: str = "base_link"
    """Frame whose pose is published."""
    mount: MountConfig = field(default_factory=MountConfig)
    odometry: OdometryConfig = field(default_factory=OdometryConfig)
    image_transport: Literal["any", "raw", "compressed"] = "any"
    """Subscribe to `image` (raw), `image/compressed` (compressed) or both (any). An image that
    comes on both is answered once."""
    images: CameraImageConfig = field(default_factory=CameraImageConfig)
    reliable_images: bool = False
    """Use reliable delivery for images; the publisher must be reliable, too."""
    queue_size: int = 1
    """Number of images that may wait while one is localised; the oldest is dropped."""
    camera_info_timeout_s: float = 2.0
    """Warn when an image has waited this long for camera_info."""
    relocalize_timeout_s: float = 5.0
    """How long ~/relocalize waits for the next image."""
    publish_pose_from: Literal["lost", "tentative", "localized"] = "lost"
    """State from which on ~/pose is published: localized if a filter consumes every pose."""
    use_initialpose: bool = True
    """Take a pose on `initialpose`, such as that of RViz, for the present one."""
    publish_initialpose: bool = False
    """Publish `initialpose` for AMCL: the first LOCALIZED pose after activation, after a change of
    the map, and after each call of ~/relocalize or ~/reinitialize."""
    broadcast_tf: bool = False
    """Broadcast map -> odom from the first LOCALIZED image until LOST; needs tf2_ros and
    odom_frame -> base_frame in TF."""
    transform_tolerance_s: float = 1.0
    """How far map -> odom is post-dated, as by AMCL: it is valid until then."""
    transform_rate_hz: float = 10.0
    """How often map -> odom is sent."""
    last_pose: LastPoseConfig = field(default_factory=LastPoseConfig)
    rerun: str = ""
    """Record for the Rerun viewer into this .rrd file, which needs rerun-sdk; empty: do not. The
    file gets its name when the node is cleaned up or ends."""
    autostart: bool = True
    """Configure and activate at start; set to false if a lifecycle manager does it."""
    bond: bool = False
    """Publish a heartbeat on `bond` while active, as Nav2's lifecycle manager expects; needs the
    package bond."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    localizer: LocalizerConfig = field(default_factory=LocalizerConfig)
    RUNTIME: ClassVar[tuple[str, ...]] = (
        "queue_size", "camera_info_timeout_s", "relocalize_timeout_s", "publish_pose_from",
        "transform_tolerance_s", "tracking.state.*",
    )  # fmt: skip
    """Parameters that can be set while the node is configured; see `ros.parameters`."""

    def __post_init__(self) -> None:
        if self.queue_size < 1:
            raise ConfigError(f"queue_size must be at least 1, got {self.queue_size}")
        for name in ("camera_info_timeout_s", "relocalize_timeout_s", "transform_rate_hz"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be positive, got {getattr(self, name)}")
        if not self.transform_tolerance_s >= 0:
            raise ConfigError(
                f"transform_tolerance_s must not be negative, got {self.transform_tolerance_s}"
            )

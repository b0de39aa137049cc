"""The settings of a place map's build."""

from __future__ import annotations

from dataclasses import dataclass, field

from scmpr_ros.errors import ConfigError
from scmpr_ros.pipeline.map_builder import MapBuilderConfig
from scmpr_ros.pipeline.map_source import MapSourceConfig


@dataclass(frozen=True)
class MapBuildConfig:
    """How the LiDAR map is read, and how its places are described."""

    source: MapSourceConfig = field(default_factory=MapSourceConfig)
    builder: MapBuilderConfig = field(default_factory=MapBuilderConfig)
    max_points: int = 500_000
    """Maximum number of points that are kept beside the map for viewers."""

    def __post_init__(self) -> None:
        if self.max_points < 1:
            raise ConfigError(f"max_points must be at least 1, got {self.max_points}")

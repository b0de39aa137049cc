"""What gives the points of a map their classes: 3DSegmentation of eq. 5, whatever does it.

Labels that came with the points, a range-view network that classifies each scan before scans are
accumulated, or our own network, which classifies the accumulated points by their geometry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.cancellation import raise_if_cancelled
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.lidar.accumulation import ClassifiedScan, PosedScan
from scmpr_ros.lidar.range_view.network import RangeViewNetwork
from scmpr_ros.lidar.segmentation import point_confusion, segment_with_confidence
from scmpr_ros.onnx_model import Runtime
from scmpr_ros.records import PointCloud

_SOURCES = ("auto", "labels", "geometry")


@dataclass(frozen=True)
class PointClassConfig:
    """What gives points their classes.

    source: "labels" that came with the points; their "geometry"; "auto", which is labels where
        there are some and geometry elsewhere; or the YAML file of a range-view network.
    runtime: what runs that network.
    """

    source: str = "auto"
    runtime: Runtime = "onnxruntime"

    def __post_init__(self) -> None:
        if self.source not in _SOURCES and not self.is_network:
            raise ConfigError(
                f"source of point classes is {self.source!r}: it is one of {', '.join(_SOURCES)}, "
                "or the YAML file of a range-view network"
            )

    @property
    def is_network(self) -> bool:
        """Whether the source is the description of a range-view network."""
        return Path(self.source).suffix in (".yaml", ".yml")


class ClassifiedCloud(NamedTuple):
    """Points with classes.

    cloud: with labels, joint ids. confidence: (N,) float32 probability of each label, None if they
    are certain. confusion: see `semantics.label_confusion`; None if labels are taken as correct.
    """

    cloud: PointCloud
    confidence: NDArray[np.float32] | None
    confusion: NDArray[np.float32] | None


class PointClassifier:
    """Gives points their classes, scan by scan and then cloud by cloud.

    First `of_scans`, where a map is made of scans, then `of_cloud` for the map or each of its
    tiles.
    """

    def __init__(self, config: PointClassConfig) -> None:
        """Load the range-view network if there is one; raises as `RangeViewNetwork` does."""
        self._source = config.source
        self._network: RangeViewNetwork | None = None
        if config.source not in _SOURCES:
            self._network = RangeViewNetwork(Path(config.source), config.runtime)

    @property
    def needs_scans(self) -> bool:
        """Whether clouds can be classified only if they are accumulated from classified scans."""
        return self._network is not None

    def check(self, has_label: bool) -> None:
        """Raise DatasetError if a cloud, with labels or without, cannot be classified as asked."""
        if self._network is not None:
            raise DatasetError(
                f"{self._network.path} classifies scans, but this map is a point cloud: map "
                "the recording's scans, or classify the points by geometry"
            )
        if self._source == "labels" and not has_label:
            raise DatasetError(f"the cloud {_NO_LABELS}")

    def of_scans(self, scans: Iterable[PosedScan]) -> Iterator[ClassifiedScan]:
        """Yield the scans with the classes that they are to be accumulated with, if any.

        Raises DatasetError if labels are asked for and a scan has none, or as
        `RangeViewNetwork.classify` does.
        """
        for number, (scan, T_map_lidar) in enumerate(scans):
            raise_if_cancelled()
            confidence = None
            if self._network is not None:
                label, confidence = self._network.classify(scan)
                scan = replace(scan, label=label)
            elif self._source == "geometry":
                scan = replace(scan, label=None)
            elif self._source == "labels" and scan.label is None:
                raise DatasetError(f"scan {number} {_NO_LABELS}")
            yield ClassifiedScan(scan, T_map_lidar, confidence)

    def of_cloud(
        self, cloud: PointCloud, confidence: NDArray[np.float32] | None = None
    ) -> ClassifiedCloud:
        """Classify the points of a map or of one of its tiles.

        confidence: (N,) of its labels, as `accumulate_classes` gives it.
        Raises DatasetError if labels are asked for and there are none, or if a range-view network
        did not see the cloud's scans.
        """
        if self._network is not None:
            if cloud.label is None or confidence is None:
                self.check(cloud.label is not None)
            return ClassifiedCloud(cloud, confidence, None)
        if self._source != "geometry" and cloud.label is not None:
            return ClassifiedCloud(cloud, confidence, None)
        self.check(has_label=False)
        if len(cloud) == 0:
            empty = replace(cloud, label=np.empty(0, np.uint8))
            return ClassifiedCloud(empty, np.empty(0, np.float32), point_confusion())
        label, confidence = segment_with_confidence(cloud)
        return ClassifiedCloud(replace(cloud, label=label), confidence, point_confusion())


_NO_LABELS = (
    "has no labels: add a label field or .label files, or classify its points by geometry or by a "
    "range-view network"
)

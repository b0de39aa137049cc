"""Entries `reading`: classes and ranges of image cells against what the map shows there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from scmpr_ros.datasets.drive import Drive, FrameReader
from scmpr_ros.evaluation.cells import cell_scores
from scmpr_ros.evaluation.iou import count_classes
from scmpr_ros.evaluation.suite.entry import Column, Numbers, RecordingEntry, camera_drive
from scmpr_ros.evaluation.suite.workbench import Workbench
from scmpr_ros.lidar.map_rendering import render_camera_view
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.lidar.sorted_points import SortedPoints
from scmpr_ros.networks.view import ViewSampler
from scmpr_ros.semantics import CLASSES, IGNORE, NUM_CLASSES


@dataclass(frozen=True)
class ReadingEntry(RecordingEntry):
    """How a network reads the images of a drive, by the map as the camera sees it."""

    title = "Reading"
    rules = (
        "Cells of the mask grid that the camera and the map both see. Truth: class and range of "
        "the map at the camera's pose; classes are from geometry where the map has no labels, and "
        "what hides the map, such as a car, counts as wrong. Ground joined: road, sidewalk and "
        "terrain as one class. Means of the images' means. NLL: -log probability of the truth, in "
        "nats. Conf.: mean probability of what is predicted; equal to the share of right cells if "
        "calibrated."
    )
    columns = (
        Column("N", "num_images", "{}"),
        Column("classes right", "classes_correct"),
        Column("ground joined", "ground_joined_correct"),
        Column("conf.", "class_confidence"),
        Column("NLL", "class_nll", "{:.2f}"),
        Column("NLL, joined", "ground_joined_nll", "{:.2f}"),
        Column("ranges right", "ranges_correct"),
        Column("conf.", "range_confidence"),
        Column("NLL", "range_nll", "{:.2f}"),
    )

    @torch.inference_mode()
    def measure(self, bench: Workbench) -> Numbers:
        """Predict every image, and compare with the map rendered at its pose."""
        folder = bench.data / self.recording
        drive = camera_drive(folder, self.sequence, self.drive, self.bag)
        point_map = bench.point_map(folder, self.sequence, self.bag)
        cells = _Cells(drive, point_map, bench, self.mount.R_level_camera)
        scores: dict[str, list[float]] = {}
        for frame, image in FrameReader(drive.image_frames, drive.image, bench.config.skip_bad):
            for name, value in cells.score(frame, image).items():
                scores.setdefault(name, []).append(value)
        means = {name: float(np.nanmean(values)) for name, values in scores.items()}
        return {
            "num_images": len(scores["classes_correct"]), **means,
            "correct_by_class": cells.correct_by_class(),
        }  # fmt: skip


class _Cells:
    """Compares the predictions of one drive with its map, image by image."""

    def __init__(
        self, drive: Drive, point_map: PointCloudMap, bench: Workbench, R_level_camera: np.ndarray
    ) -> None:
        self._drive, self._R_level_camera = drive, R_level_camera
        self._points = SortedPoints.of_cloud(point_map.cloud)
        self._network = bench.perceiving_network
        config = self._network.config
        self._view = ViewSampler.of(drive.camera, config.view, R_level_camera)
        self._seen = ViewSampler.of(drive.camera, config.mask_grid, R_level_camera).seen
        self._confusion = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)

    def score(self, frame: int, image: np.ndarray) -> dict[str, float]:
        """`cell_scores` of one image."""
        config = self._network.config
        labels, range_m, _ = render_camera_view(
            self._points, self._drive.T_world_camera(frame), self._R_level_camera,
            config.mask_grid, config.max_range_m,
        )  # fmt: skip
        labels, range_m = labels * self._seen, range_m * self._seen
        pixels = self._view.image(torch.from_numpy(image).permute(2, 0, 1)[None])
        prediction = self._network.predict(pixels)
        predicted = prediction.mask_logits[0].argmax(0)
        self._confusion += count_classes(labels.numpy(), predicted.numpy())
        scores = cell_scores(prediction, labels[None], range_m[None], self._network.ranges)
        return {name: float(value) for name, value in scores.items()}

    def correct_by_class(self) -> dict[str, dict[str, float]]:
        """Fraction of correct cells and number of cells by the map's class, over all images."""
        counts = self._confusion.sum(axis=1)
        return {
            joint.name: {"correct": self._confusion[i, i] / counts[i], "cells": int(counts[i])}
            for i, joint in enumerate(CLASSES)
            if i != IGNORE and counts[i]
        }

"""Entries `masks`: predicted masks against those of a data set of labelled images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from scmpr_ros.datasets.kitti.files import read_ids, read_image
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.iou import count_classes, named_iou
from scmpr_ros.evaluation.suite.entry import Column, Entry, Numbers
from scmpr_ros.evaluation.suite.workbench import Workbench
from scmpr_ros.networks.view import ViewSampler
from scmpr_ros.records import CameraModel, Mount
from scmpr_ros.semantics import CLASSES, IGNORE, NUM_CLASSES, class_id

_SUFFIX = ".png"


@dataclass(frozen=True)
class MasksEntry(Entry):
    """Accuracy and IoU of predicted masks.

    images, masks: folders of PNG files of the same names; masks hold ids. camera: its intrinsics.
    classes: joint class of each id. mount: how the camera is mounted on the vehicle.
    """

    images: Path
    masks: Path
    camera: CameraModel
    classes: dict
    mount: Mount = field(default_factory=Mount)

    title = "Masks"
    rules = (
        "Cells of the network's mask grid that the camera sees, at the mask's nearest pixel; "
        "`ignore` does not count. mIoU: mean of the classes that occur in the masks."
    )
    columns = (
        Column("N", "num_images", "{}"),
        Column("accuracy", "accuracy"),
        Column("mIoU", "mean", "{:.3f}"),
        *(
            Column(joint.name, joint.name, "{:.2f}")
            for index, joint in enumerate(CLASSES)
            if index != IGNORE
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        known = {joint.name for joint in CLASSES}
        for raw, name in self.classes.items():
            if not (isinstance(raw, int) and 0 <= raw < 256 and name in known):
                raise ConfigError(
                    f"{self.name}: classes has {raw!r}: {name!r}; expected an id from 0 to 255 and "
                    f"one of {', '.join(sorted(known))}"
                )

    def needs(self, bench: Workbench) -> list[Path]:
        """Both folders."""
        return [bench.data / self.images, bench.data / self.masks]

    @torch.inference_mode()
    def measure(self, bench: Workbench) -> Numbers:
        """Predict every image and count cells."""
        network, level = bench.perceiving_network, self.mount.R_level_camera
        view = ViewSampler.of(self.camera, network.config.view, level)
        cells = ViewSampler.of(self.camera, network.config.mask_grid, level)
        confusion = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)
        count = 0
        for image, mask in self._pairs(bench.data):
            pixels = view.image(torch.from_numpy(image).permute(2, 0, 1)[None])
            predicted = network.predict(pixels).mask_logits[0].argmax(0)
            true = cells.labels(torch.from_numpy(mask)[None])[0]
            confusion += count_classes(true.numpy(), predicted.numpy())
            count += 1
        known = np.delete(confusion, IGNORE, axis=0)
        if not known.any():
            raise DatasetError(
                f"{bench.data / self.masks}: no cell of the {count} masks has a class"
            )
        accuracy = float(np.diag(confusion)[IGNORE + 1 :].sum() / known.sum())
        return {"num_images": count, "accuracy": accuracy, **named_iou(confusion)}

    def _pairs(self, data: Path) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """Images and masks of joint ids."""
        paths = sorted((data / self.images).glob(f"*{_SUFFIX}"))
        if not paths:
            raise DatasetError(f"{data / self.images} has no {_SUFFIX} images")
        for path in paths:
            image, source = read_image(path), data / self.masks / path.name
            ids = read_ids(source)
            size = (self.camera.height, self.camera.width)
            for file, shape in ((path, image.shape[:2]), (source, ids.shape)):
                if shape != size:
                    raise DatasetError(f"{file} is {shape}, but the camera of {self.name} {size}")
            yield image, self._joint(ids, source)

    def _joint(self, ids: NDArray[np.integer], source: Path) -> NDArray[np.uint8]:
        table = np.full(256, NUM_CLASSES, np.uint8)
        for raw, name in self.classes.items():
            table[raw] = class_id(name)
        joint = table[ids]
        if (joint == NUM_CLASSES).any():
            unknown = sorted(set(ids[joint == NUM_CLASSES].tolist()))
            raise DatasetError(f"{source} has ids {unknown}: add them to `classes` of {self.name}")
        return joint

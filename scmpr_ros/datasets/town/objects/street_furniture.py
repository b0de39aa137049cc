"""The old name of what now has modules of its own; goes when `layout` imports from those."""

from scmpr_ros.datasets.town.objects.bins import wheeled_bin
from scmpr_ros.datasets.town.objects.fences import FENCE_KINDS, fence
from scmpr_ros.datasets.town.objects.kerb_guards import bollard
from scmpr_ros.datasets.town.objects.lamps import street_lamp
from scmpr_ros.datasets.town.objects.seating import bench
from scmpr_ros.datasets.town.objects.shelters import advertising_column, shelter
from scmpr_ros.datasets.town.objects.signals import traffic_signal
from scmpr_ros.datasets.town.objects.signs import name_plate, traffic_sign
from scmpr_ros.datasets.town.objects.street_boxes import cabinet

__all__ = [
    "FENCE_KINDS",
    "advertising_column",
    "bench",
    "bollard",
    "cabinet",
    "fence",
    "name_plate",
    "shelter",
    "street_lamp",
    "traffic_sign",
    "traffic_signal",
    "wheeled_bin",
]

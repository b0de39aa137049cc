"""An outside method in fifty lines, without scmpr_ros: edges of images and of scans.

    python outside_method.py RECORDING DRIVE OUT

writes OUT/queries.npz and OUT/places.npz for `evaluate --descriptors`, from a recording in the
layout of KITTI odometry. A descriptor says how strong edges are in cells of 2 degrees ahead: of
brightness in images, of range in scans.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

AZIMUTHS = np.deg2rad(np.arange(39, -41, -2))  # from left to right
ELEVATIONS = np.deg2rad(np.arange(2, -16, -2))  # from top to bottom
FARTHEST_M = 80.0


def describe_image(path: Path, projection: np.ndarray) -> np.ndarray:
    """Mean step of brightness between neighbouring pixels of a row, in each cell."""
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    image = cv2.GaussianBlur(image, (3, 3), 0).astype(np.float32)
    step = np.log1p(np.abs(np.diff(image, axis=1, append=image[:, -1:])))
    focal, centre_u, centre_v = projection[0, 0], projection[0, 2], projection[1, 2]
    size = max(1, int(focal * np.deg2rad(2)))
    u = centre_u - focal * np.tan(AZIMUTHS)
    v = centre_v - focal * np.tan(ELEVATIONS[:, None]) / np.cos(AZIMUTHS)
    u, v = np.broadcast_arrays(u.astype(np.float32), v.astype(np.float32))
    return cv2.remap(cv2.blur(step, (size, size)), u, v, cv2.INTER_NEAREST)


def describe_scan(path: Path) -> np.ndarray:
    """Steps of the logarithm of the nearest range between neighbouring degrees, in each cell."""
    x, y, z = np.fromfile(path, np.float32).reshape(-1, 4)[:, :3].T
    column = np.floor(np.rad2deg(np.arctan2(y, x))).astype(int) % 360
    elevation = np.arctan2(z, np.hypot(x, y))
    row = np.round((ELEVATIONS[0] - elevation) / np.deg2rad(2)).astype(int)
    seen = (row >= 0) & (row < len(ELEVATIONS))
    ranges = np.full((len(ELEVATIONS), 360), FARTHEST_M)
    np.minimum.at(ranges, (row[seen], column[seen]), np.sqrt(x**2 + y**2 + z**2)[seen])
    step = np.abs(np.diff(np.log(ranges), axis=1, append=np.log(ranges[:, :1])))
    return (step + np.roll(step, 1, axis=1))[:, np.floor(np.rad2deg(AZIMUTHS)).astype(int) % 360]


def unit(cells: np.ndarray) -> np.ndarray:
    """Each row less its mean, and all together of unit length: (N, D)."""
    cells = cells - cells.mean(axis=2, keepdims=True)
    descriptor = cells.reshape(len(cells), -1)
    return descriptor / np.maximum(np.linalg.norm(descriptor, axis=1, keepdims=True), 1e-6)


def main(recording: Path, drive: str, out: Path) -> None:
    """Describe all images and scans of one drive."""
    folder = recording / "sequences" / drive
    calibration = dict(line.split(":") for line in (folder / "calib.txt").read_text().splitlines())
    projection = np.array(calibration["P2"].split(), float).reshape(3, 4)
    images, scans = sorted(folder.glob("image_2/*")), sorted(folder.glob("velodyne/*.bin"))
    queries = unit(np.stack([describe_image(path, projection) for path in images]))
    places = unit(np.stack([describe_scan(path) for path in scans]))
    out.mkdir(parents=True, exist_ok=True)
    for name, paths, descriptor in (("queries", images, queries), ("places", scans, places)):
        frames = [int(path.stem) for path in paths]
        np.savez(out / f"{name}.npz", drive=drive, frame=frames, descriptor=descriptor)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))

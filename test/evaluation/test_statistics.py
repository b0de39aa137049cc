"""Statistics of recordings: known values for images, masks and scans."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, DatasetError, ShapeError
from scmpr_ros.evaluation.statistics.distribution import (
    Axis,
    Distribution,
    Measurement,
    jensen_shannon,
    wasserstein,
)
from scmpr_ros.evaluation.statistics.drives import (
    MEANINGS,
    DriveStatistics,
    Recording,
    StatisticsConfig,
    compare_recordings,
    distances,
)
from scmpr_ros.evaluation.statistics.images import (
    GRADIENT,
    block_contrast,
    edge_sharpness,
    gradient_magnitude,
    measure_image,
    measure_mask,
    noise_level,
    power_spectrum,
    spectrum_slope,
)
from scmpr_ros.evaluation.statistics.scans import ground_roughness, measure_scan
from scmpr_ros.records import CameraModel, PointCloud
from scmpr_ros.semantics import class_id, to_joint

METRES = Axis(0, 20, 10, "m")


# --- distributions ---------------------------------------------------------------------------


def test_wasserstein_distance_of_a_shift() -> None:
    values = np.array([1.0, 3.0, 3.5, 5.0])
    a, b = Distribution.of(values, METRES), Distribution.of(values + 6, METRES)
    assert wasserstein(a, b) == wasserstein(b, a) == pytest.approx(6)
    assert wasserstein(a, a) == 0
    decades = Axis(0.1, 1000, 40, "m", "log")
    a, b = (Distribution.of(values * factor, decades) for factor in (1, 10))
    assert wasserstein(a, b) == pytest.approx(1) and decades.distance_unit == "decades"
    classes = Axis.of_classes(8)
    a = Distribution.of(np.array([0, 1, 1, 1]), classes)
    b = Distribution.of(np.array([0, 1, 1, 7]), classes)
    assert wasserstein(a, b) == pytest.approx(1 / 4), "the fraction that changed, however far"


def test_jensen_shannon_divergence() -> None:
    low, high = (Distribution.of(np.full(9, v), METRES) for v in (1.0, 15.0))
    assert jensen_shannon(low, low) == 0
    assert jensen_shannon(low, high) == pytest.approx(1)
    # By hand, (1, 0) and (1/2, 1/2): 1/2 log2(4/3) + 1/4 log2(2/3) + 1/4 log2(2) = 0.3113.
    assert jensen_shannon(low, low + high) == pytest.approx(0.3113, abs=1e-4)


def test_bins_and_quantiles() -> None:
    even = Distribution.of(np.arange(0.5, 20), METRES)
    assert even.weight.tolist() == [2] * 10
    assert even.quantile(0.5) == pytest.approx(10) and even.mean == pytest.approx(10)
    assert even.quantile(0.25) == pytest.approx(5)
    assert even.std == pytest.approx(np.std(np.arange(1, 20, 2)))
    ends = Distribution.of(np.array([-5.0, 99.0, 1e9]), METRES)
    assert (ends.weight[0], ends.weight[-1]) == (1, 2), "values outside count in the end bins"
    decade = Distribution.of(np.array([2.0]), Axis(1, 100, 2, "m", "log"))
    assert decade.quantile(0.5) == pytest.approx(10**0.5)
    assert np.isnan(Distribution(METRES, np.zeros(10)).quantile(0.5))


def test_axes_must_match() -> None:
    with pytest.raises(ConfigError, match="low < high"):
        Axis(1, 1, 5, "m")
    with pytest.raises(ConfigError, match="low > 0 on a logarithmic scale"):
        Axis(0, 1, 5, "m", "log")
    with pytest.raises(ShapeError, match="axis of the other"):
        wasserstein(Distribution.of(np.ones(1), METRES), Distribution.of(np.ones(1), GRADIENT))
    with pytest.raises(ShapeError, match=r"expected \(10,\)"):
        Distribution(METRES, np.zeros(9))


def test_pooling_adds_counts_and_ignores_nan() -> None:
    parts = [
        Measurement({"noise": 1.0}, {"range": Distribution.of(np.array([1.0]), METRES)}),
        Measurement({"noise": float("nan")}, {"range": Distribution.of(np.array([19.0]), METRES)}),
        Measurement({"noise": 3.0}),
    ]
    pooled = Measurement.pool(parts)
    assert pooled.numbers == {"noise": 2.0}
    assert pooled.distributions["range"].weight[[0, -1]].tolist() == [1, 1]


# --- images ----------------------------------------------------------------------------------


def grey(luminance: NDArray) -> NDArray[np.uint8]:
    return np.repeat(luminance.astype(np.uint8)[..., None], 3, axis=2)


def test_a_flat_image() -> None:
    measured = measure_image(grey(np.full((64, 96), 100)))
    fractions = measured.distributions
    assert fractions["luminance"].quantile(0.5) == pytest.approx(100)
    assert fractions["luminance"].fractions[100] == fractions["green"].fractions[25] == 1
    assert fractions["saturation"].fractions[0] == fractions["gradient"].fractions[0] == 1
    assert measured.numbers["noise"] == 0
    assert measured.numbers["clipped black"] == measured.numbers["clipped white"] == 0
    assert np.isnan(measured.numbers["edge sharpness"])


def test_colours_and_clipping() -> None:
    rgb = np.zeros((40, 40, 3), np.uint8)
    rgb[:10] = 255
    rgb[10:20] = (200, 100, 50)
    measured = measure_image(rgb)
    assert measured.numbers["clipped white"] == 0.25
    assert measured.numbers["clipped black"] == 0.5
    assert measured.distributions["red"].fractions[200 // 4] == 0.25
    assert measured.distributions["blue"].fractions[50 // 4] == 0.25
    assert measured.distributions["saturation"].fractions[48] == 0.25  # 1 - 50 / 200


def test_gradients_of_a_checkerboard() -> None:
    y, x = np.mgrid[:66, :66]
    board = 200 * ((y // 8 + x // 8) % 2).astype(np.float32)
    gradient = gradient_magnitude(board)
    # In each direction, two of 8 px are at an edge, with half the step.
    values, counts = np.unique(np.round(gradient, 3), return_counts=True)
    assert values == pytest.approx([0, 100, 100 * 2**0.5], abs=1e-3)
    assert (counts / gradient.size).tolist() == [9 / 16, 6 / 16, 1 / 16]
    assert block_contrast(board[:64, :64]) == pytest.approx(np.zeros(64))
    assert block_contrast(board[4:60, :64]) == pytest.approx(np.full(56, 100.0))


def test_sharpness_decreases_with_blur() -> None:
    step = np.zeros((64, 64), np.float32)
    step[:, 32:] = 200
    assert edge_sharpness(step, gradient_magnitude(step)) == pytest.approx(2)
    ramp = np.clip((np.arange(64, dtype=np.float32) - 30) * 40, 0, 200) * np.ones((64, 1), "f4")
    assert edge_sharpness(ramp, gradient_magnitude(ramp)) < 1.1


def test_noise_level_ignores_slopes_and_clipped_pixels() -> None:
    rng = np.random.default_rng(0)
    slope = np.linspace(60, 180, 256, dtype=np.float32) * np.ones((256, 1), np.float32)
    assert noise_level(slope) == pytest.approx(0, abs=1e-4)
    noisy = slope + rng.normal(0, 5, slope.shape).astype(np.float32)
    # The 10 % quantile of blocks of 256 px is 10 % below the mean.
    assert noise_level(noisy) == pytest.approx(4.5, rel=0.05)
    noisy[:200] = 255
    assert noise_level(noisy) == pytest.approx(4.5, rel=0.1)
    assert np.isnan(noise_level(np.full((64, 64), 255, np.float32)))


@pytest.mark.parametrize("exponent", [0.0, -2.0, -3.0])
def test_slope_of_a_known_spectrum(exponent: float) -> None:
    size = 512
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    frequency[0, 0] = 1
    white = np.fft.rfft2(np.random.default_rng(0).normal(size=(size, size)))
    image = np.fft.irfft2(white * frequency ** (exponent / 2)).astype(np.float32)
    assert spectrum_slope(power_spectrum(image)) == pytest.approx(exponent, abs=0.15)


def test_class_fractions_by_thirds() -> None:
    sky, road, car = class_id("sky"), class_id("road"), class_id("car")
    mask = np.full((90, 40), road, np.uint8)
    mask[:30], mask[30:60, :10] = sky, car
    fractions = {name: d.fractions for name, d in measure_mask(mask).distributions.items()}
    assert fractions["pixel classes"][[sky, road, car]] == pytest.approx([4 / 12, 7 / 12, 1 / 12])
    assert fractions["pixel classes, top third"][sky] == 1
    assert fractions["pixel classes, middle third"][car] == pytest.approx(0.25)
    assert fractions["pixel classes, bottom third"][road] == 1


def test_other_arrays_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(H, W, 3\) uint8"):
        measure_image(np.zeros((4, 4), np.uint8))


# --- scans -----------------------------------------------------------------------------------


def cylinder(radius_m: float, elevations_deg: list[float], columns: int) -> NDArray[np.float32]:
    """Points of a cylindrical wall around the sensor."""
    elevation, azimuth = np.meshgrid(
        np.radians(elevations_deg), np.linspace(0, 2 * np.pi, columns, endpoint=False)
    )
    xyz = [np.cos(azimuth), np.sin(azimuth), np.tan(elevation)]
    return (radius_m * np.stack(xyz, axis=-1)).reshape(-1, 3).astype(np.float32)


def test_rings_and_ranges_of_a_cylinder() -> None:
    xyz = cylinder(11, [-10.3, -10.1, 0.1, 2.0], 100)
    label = np.full(400, class_id("building"), np.uint8)
    measured = measure_scan(PointCloud(xyz, label, np.full(400, 0.5, np.float32)), 1000)
    fractions = {name: d.fractions for name, d in measured.distributions.items()}
    assert measured.numbers["returns per scan"] == 400
    assert measured.numbers["beams without return"] == pytest.approx(0.6)
    rows = np.flatnonzero(fractions["elevation"])
    # Rows are 28 / 64 deg high, from -25 deg up: (-10.3 + 25) / 0.4375 = 33.6 and so on.
    assert rows.tolist() == [33, 34, 57, 61]
    assert fractions["elevation"][rows] == pytest.approx(np.full(4, 0.25))
    assert fractions["range"][5] == 1, "10 to 12 m"
    assert fractions["intensity"][32] == 1
    assert fractions["point classes"][class_id("building")] == 1


def test_heights_are_relative_to_the_ground() -> None:
    x, y = np.meshgrid(np.arange(-20, 20, 0.5), np.arange(-20, 20, 0.5))
    ground = np.stack([x, y, np.full_like(x, -1.73)], axis=-1).reshape(-1, 3)
    roof = np.array([[5.0, 5.0, -1.73 + 3.1]] * 1600)
    cloud = PointCloud(np.concatenate([ground, roof]).astype(np.float32))
    height = measure_scan(cloud, 100).distributions["height"]
    assert height.fractions[[5, 20]] == pytest.approx([0.8, 0.2])  # bins of 0.2 m from -1 m up


@pytest.mark.parametrize("noise_m", [0.0, 0.01, 0.03])
def test_roughness_of_sloping_ground(noise_m: float) -> None:
    x, y = np.meshgrid(np.arange(-10, 10, 0.1), np.arange(-10, 10, 0.1))
    rough = noise_m * (-1.0) ** (np.arange(x.size).reshape(x.shape) + np.arange(len(x))[:, None])
    xyz = np.stack([x, y, 0.05 * x + rough - 1.7], axis=-1).reshape(-1, 3)
    assert ground_roughness(xyz, np.zeros(len(xyz))) == pytest.approx(noise_m, rel=0.05, abs=1e-9)
    assert np.isnan(ground_roughness(xyz, np.full(len(xyz), 5.0))), "no ground points"


def test_an_empty_scan() -> None:
    measured = measure_scan(PointCloud(np.zeros((0, 3), np.float32)), 100)
    assert measured.numbers == {"returns per scan": 0, "beams without return": 1}


def test_a_real_labelled_scan(shared_data: Path) -> None:
    folder = shared_data / "semantickitti_sample"
    points = np.fromfile(folder / "velodyne" / "000000.bin", "<f4").reshape(-1, 4)
    raw = np.fromfile(folder / "labels" / "000000.label", "<u4")
    scan = PointCloud(points[:, :3].copy(), to_joint(raw, "semantickitti"), points[:, 3].copy())
    measured = measure_scan(scan, 64 * 2048)
    assert measured.numbers["beams without return"] == pytest.approx(1 - 123389 / 131072)
    assert 0.003 < measured.numbers["ground roughness"] < 0.02
    fractions = measured.distributions["point classes"].fractions
    assert fractions[class_id("road")] == pytest.approx(0.1707, abs=1e-4)
    assert measured.distributions["elevation"].quantile(0.01) > -25


# --- recordings ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ArrayDrive:
    """A `Drive` of arrays in memory."""

    images: tuple[NDArray[np.uint8], ...] = ()
    scans: tuple[PointCloud, ...] = ()
    fx: float = 360.0
    name: str = "arrays"
    T_lidar_camera: NDArray[np.float64] = field(default_factory=lambda: np.eye(4))

    @property
    def camera(self) -> CameraModel:
        height, width = self.images[0].shape[:2]
        return CameraModel(width, height, self.fx, self.fx, width / 2, height / 2)

    @property
    def frames(self) -> range:
        return range(100)

    @property
    def image_frames(self) -> range:
        return range(len(self.images))

    @property
    def scan_frames(self) -> range:
        return range(len(self.scans))

    def stamp_s(self, frame: int) -> float:
        return 0.1 * frame

    def T_world_camera(self, frame: int) -> NDArray[np.float64]:
        return np.eye(4)

    def T_world_lidar(self, frame: int) -> NDArray[np.float64]:
        return np.eye(4)

    def image(self, frame: int) -> NDArray[np.uint8]:
        return self.images[frame]

    def scan(self, frame: int) -> PointCloud:
        return self.scans[frame]

    def mask(self, frame: int, sparse: bool = True) -> None:
        return None


def noise_images(count: int) -> tuple[NDArray[np.uint8], ...]:
    rng = np.random.default_rng(0)
    return tuple(rng.integers(0, 255, (64, 128, 3), dtype=np.uint8) for _ in range(count))


def scans(count: int) -> tuple[PointCloud, ...]:
    return tuple(PointCloud(cylinder(5 + i, [-3, 0], 50)) for i in range(count))


def test_images_are_compared_at_the_same_focal_length() -> None:
    images = noise_images(2)
    doubled = tuple(im.repeat(2, axis=0).repeat(2, axis=1) for im in images)
    near = Recording("near", (ArrayDrive(doubled, fx=720.0),))
    far = Recording("far", (ArrayDrive(images, fx=360.0),))
    comparison = compare_recordings([near, far], StatisticsConfig())
    assert comparison.focal_px == 360
    assert all(d.wasserstein == 0 for d in comparison.to_first[0].values())
    assert compare_recordings([near], StatisticsConfig()).focal_px is None, "unchanged"
    small = Recording("small", (ArrayDrive(images, fx=215.0),))
    reduced = compare_recordings([far, small], StatisticsConfig())
    assert reduced.focal_px == 215, "never enlarged"


def test_frames_are_spread_over_all_drives() -> None:
    drives = (ArrayDrive(scans=scans(30)), ArrayDrive(scans=scans(10)))
    frames = Recording("two", drives).scan_frames(4)
    assert [(drives.index(d), f) for d, f in frames] == [(0, 5), (0, 15), (0, 25), (1, 5)]
    assert len(Recording("two", drives).scan_frames(99)) == 40


def test_baseline_is_the_distance_between_halves() -> None:
    same = Recording("same", (ArrayDrive(scans=scans(1) * 6),))
    moving = Recording("moving", (ArrayDrive(noise_images(1), scans(6)),))
    comparison = compare_recordings([same, moving], StatisticsConfig())
    assert comparison.halves["range"].wasserstein == 0
    assert comparison.to_first[0]["range"].wasserstein > 1
    assert "luminance" not in comparison.to_first[0], "only distributions of both"
    halves = compare_recordings([moving, same], StatisticsConfig()).halves
    assert halves["range"].wasserstein == pytest.approx(3, abs=1)
    assert halves.keys() >= {"range", "height"} and "luminance" not in halves


def test_statistics_are_kept_in_json() -> None:
    drive = ArrayDrive(noise_images(3), scans(4))
    comparison = compare_recordings([Recording("one", (drive,))], StatisticsConfig(frames=3))
    plain = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert plain["config"]["frames"] == 3 and "grey levels" in plain["meanings"]["noise"]
    (written,) = comparison.recordings
    read = DriveStatistics.from_dict(plain["recordings"][0])
    assert read.summary() == written.summary() == plain["recordings"][0]["summary"]
    assert all(d.wasserstein == 0 for d in distances(written, read).values())
    assert written.summary()["scans"] == 3 and written.summary()["images"] == 3
    assert {name.partition(", ")[0] for name in written.summary()} <= {*MEANINGS}


def test_bad_input() -> None:
    with pytest.raises(DatasetError, match="nothing: neither images nor scans"):
        Recording("nothing", (ArrayDrive(),))
    one = Recording("one", (ArrayDrive(scans=scans(1)),))
    with pytest.raises(ConfigError, match="different names, got one, one"):
        compare_recordings([one, one], StatisticsConfig())
    with pytest.raises(ConfigError, match="frames is 0, must be positive"):
        StatisticsConfig(frames=0)

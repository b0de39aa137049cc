"""Raw images become those of the pinhole camera; known points land where geometry says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scmpr_ros.datasets.camera_images import (
    CameraImageConfig,
    CameraImages,
    ImageSource,
    load_camera_options,
)
from scmpr_ros.datasets.intrinsics import find_implausible, find_unusual
from scmpr_ros.datasets.rectification import (
    Calibration,
    Rectifier,
    is_rectified_by_name,
    needs_rectification,
)
from scmpr_ros.errors import CalibrationError, ConfigError
from scmpr_ros.records import CameraModel

K = (200.0, 0.0, 159.5, 0.0, 200.0, 95.5, 0.0, 0.0, 1.0)
SIZE = (320, 192)
LENSES = {
    "plumb_bob": (-0.3, 0.1, 0.001, -0.002, 0.0),
    "rational_polynomial": (0.4, 0.1, 0.0, 0.0, 0.01, 0.8, 0.2, 0.02),
    "equidistant": (-0.02, 0.01, 0.0, 0.0),
    "fisheye": (0.05, -0.01, 0.002, 0.0),
}
SOURCE = ImageSource("/camera/image_raw", "/camera/camera_info", "bag.yaml")
# kitti2bag writes K and D of the sensor's 1392x512 pixels with the rectified size
KITTI2BAG = Calibration(
    1242, 375, K=(959.8, 0, 696.0, 0, 956.9, 224.2, 0, 0, 1), model="plumb_bob",
    P=(721.5, 0, 609.6, 0, 721.5, 172.9, 0, 0, 1), D=(-0.369, 0.197, 0.00135, 0.00057, -0.0677),
)  # fmt: skip


def lens(model: str = "plumb_bob", P: tuple[float, ...] = K, **changes) -> Calibration:
    return Calibration(*SIZE, K=K, P=P, model=model, D=LENSES[model], **changes)


def prepared(calibration: Calibration, size=SIZE, source=SOURCE, **config) -> CameraImages:
    return CameraImages(calibration, size, CameraImageConfig(**config), source)


@pytest.mark.parametrize("model", list(LENSES))
def test_a_drawn_point_lands_where_its_ray_is(model: str) -> None:
    """Distort rays by OpenCV's forward model, draw them, rectify, and find them at K x."""
    rays = np.array([[0.3, 0.1, 1], [-0.4, 0.2, 1], [0.1, -0.25, 1], [0, 0, 1.0]])
    project = (
        cv2.fisheye.projectPoints if model in ("equidistant", "fisheye") else cv2.projectPoints
    )
    D = np.array(LENSES[model])
    raw = project(rays[:, None], np.zeros(3), np.zeros(3), np.reshape(K, (3, 3)), D)[0]
    rectify = Rectifier(lens(model))
    assert rectify.camera == CameraModel(*SIZE, 200, 200, 159.5, 95.5)
    for ray, (u, v) in zip(rays, raw.reshape(-1, 2), strict=True):
        rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
        spot = 255 * np.exp(-((columns - u) ** 2 + (rows - v) ** 2) / 8)
        weight = rectify(np.repeat(spot[..., None], 3, 2).astype(np.uint8))[..., 0].astype(float)
        found = [(weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()]
        np.testing.assert_allclose(found, rectify.camera.project(ray[None])[0][0], atol=0.4)


@pytest.mark.parametrize("model", list(LENSES))
def test_without_p_the_largest_view_that_raw_pixels_fill(model: str) -> None:
    rectify = Rectifier(lens(model, P=()))
    filled = rectify(np.full((SIZE[1], SIZE[0], 3), 200, np.uint8))
    assert (filled > 0).mean() > 0.99
    assert find_implausible(rectify.camera) == ""


def test_rotation_of_a_stereo_pair() -> None:
    """R turns the rectified camera: its middle shows what was 0.1 rad aside."""
    R = cv2.Rodrigues(np.array([0.0, -0.1, 0.0]))[0]
    turned = Rectifier(Calibration(*SIZE, K=K, P=K, R=tuple(R.ravel())))
    columns = np.tile(np.arange(SIZE[0], dtype=np.uint8), (SIZE[1], 1))
    image = turned(np.repeat(columns[..., None], 3, 2))
    assert image[96, 160, 0] == pytest.approx(160 + 200 * np.tan(0.1), abs=1.5)


def test_ids_are_not_mixed() -> None:
    mask = np.where(np.arange(SIZE[0]) < 160, 3, 9)[None].repeat(SIZE[1], 0).astype(np.uint8)
    wide = (100.0, 0.0, 159.5, 0.0, 100.0, 95.5, 0.0, 0.0, 1.0)
    rectified = prepared(lens(P=wide)).rectified_mask(mask)
    assert set(np.unique(rectified)) == {0, 3, 9}, "outside nothing is known"
    assert set(np.unique(rectified[60:130, 100:220])) == {3, 9}


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("/cam/image_rect", True), ("/cam/image_rect_color", True),
        ("/cam/image_rect/compressed", True),
        ("/kitti360_2d/perspective/rectified_left", True), ("/left_rect/image", True),
        ("/cam/undistorted", True), ("/rect/image", True),
        ("/cam/image_raw", False), ("/cam/image", False), ("/direct/image", False),
        ("/rectangle/image", False), ("/rect/image_raw", False), ("/unrectified/image", False),
    ],
)  # fmt: skip
def test_names_of_rectified_images(topic: str, expected: bool) -> None:
    assert is_rectified_by_name(topic) is expected


def test_when_images_are_taken_for_raw() -> None:
    raw, note = needs_rectification(lens(), "/cam/image_raw", "auto")
    assert raw and "taken for raw, because of the plumb_bob distortion [-0.3, 0.1," in note
    assert needs_rectification(lens(), "/cam/image_rect", "auto") == (False, "")
    assert needs_rectification(lens(), "/cam/image_rect", "always") == (True, "")
    assert needs_rectification(lens(), "/cam/image_raw", "never") == (False, "")
    straight = Calibration(*SIZE, K=K, P=K, model="plumb_bob", D=(0.0,) * 5)
    assert needs_rectification(straight, "/cam/image_raw", "auto") == (False, "")


def test_images_of_kitti2bag_are_rectified_already() -> None:
    raw, note = needs_rectification(KITTI2BAG, "/kitti/camera_color_left/image_raw", "auto")
    assert not raw and "as in bags of kitti2bag" in note and "set rectify to always" in note


@settings(max_examples=40, deadline=None)
@given(
    k1=st.floats(-0.35, 0.3), focal=st.floats(0.7, 1.5), alpha=st.floats(0, 1),
    shift=st.tuples(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05)),
)  # fmt: skip
def test_a_calibration_of_the_right_size_is_not_of_another(k1, focal, alpha, shift) -> None:
    """Whatever share of black pixels its maker allowed (alpha of OpenCV)."""
    K = np.array([[focal * 320, 0, 160 + shift[0] * 320], [0, focal * 320, 96 + shift[1] * 192],
                  [0, 0, 1]])  # fmt: skip
    D = np.array([k1, 0.05, 0, 0, 0])
    P = cv2.getOptimalNewCameraMatrix(K, D, SIZE, alpha)[0]
    calibration = Calibration(*SIZE, K=tuple(K.ravel()), P=tuple(P.ravel()), model="plumb_bob",
                              D=tuple(D))  # fmt: skip
    assert not calibration.is_of_other_size()


def test_distortion_that_cannot_be_undone() -> None:
    with pytest.raises(CalibrationError, match=r"'kannala', but images.*never in bag.yaml"):
        prepared(Calibration(*SIZE, K=K, P=K, model="kannala", D=(0.1,)))
    with pytest.raises(CalibrationError, match="plumb_bob has 4 or 5 coefficients, but D holds 3"):
        prepared(Calibration(*SIZE, K=K, P=K, model="plumb_bob", D=(0.1, 0.2, 0.3)))
    with pytest.raises(CalibrationError, match="distortion but no K"):
        prepared(Calibration(*SIZE, P=K, model="plumb_bob", D=(0.1, 0, 0, 0)))
    with pytest.raises(CalibrationError, match="by its name, but there is no P"):
        rectified = ImageSource("/cam/image_rect", "/cam/camera_info", "bag.yaml")
        prepared(lens(P=()), source=rectified)
    with pytest.raises(CalibrationError, match=r"D holds numbers that are not finite, \[nan\]"):
        Calibration(*SIZE, K=K, D=(float("nan"),))
    with pytest.raises(CalibrationError, match="neither P nor K"):
        Calibration(*SIZE)
    unknown = Calibration(*SIZE, K=K, P=K, model="kannala", D=(0.1,))
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    assert prepared(unknown, rectify="never").rectified(image) is image
    longer = Calibration(*SIZE, K=K, P=K, model="plumb_bob", D=(-0.3, 0.1, 0, 0, 0, 0, 0, 0))
    assert prepared(longer).rectified(image) is not image, "zeros at the end change nothing"


def test_images_of_another_size() -> None:
    calibration = Calibration(*SIZE, P=K)
    expected = r"160x96 pixels, but \S+camera_info is of 320x192: .* to \[320, 192\] in bag.yaml"
    with pytest.raises(CalibrationError, match=expected):
        prepared(calibration, (160, 96))
    half = prepared(calibration, (160, 96), calibrated_size=SIZE).camera
    assert (half.fx, half.cx, half.cy) == (100.0, 79.5, 47.5)
    with pytest.raises(CalibrationError, match="calibration of the camera of these images"):
        prepared(calibration, (300, 192), calibrated_size=SIZE)
    with pytest.raises(CalibrationError, match="is of images of 0x0"):
        prepared(Calibration(0, 0, P=K))
    assert prepared(Calibration(0, 0, P=K), calibrated_size=SIZE).camera.fx == 200.0


def test_raw_images_that_were_scaled() -> None:
    """Scaling and rectifying may be done in either order."""
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8), SIZE,
                       interpolation=cv2.INTER_CUBIC)  # fmt: skip
    small = cv2.resize(image, (160, 96), interpolation=cv2.INTER_AREA)
    of_small = prepared(lens(), (160, 96), calibrated_size=SIZE)
    large = prepared(lens())
    expected = cv2.resize(large.rectified(image), (160, 96), interpolation=cv2.INTER_AREA)
    difference = np.abs(of_small.rectified(small).astype(int) - expected)[8:-8, 8:-8]
    assert of_small.camera == large.camera.resized(160, 96) and difference.mean() < 1.5


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.5, 2.0])
def test_intrinsics_of_images_that_were_resized(scale: float) -> None:
    camera = CameraModel(1241, 376, 718.9, 718.9, 607.2, 185.2)
    assert find_implausible(camera) == "" == find_unusual(camera)
    width, height = round(1241 * scale), round(376 * scale)
    text = find_implausible(CameraModel(width, height, 718.9, 718.9, 607.2, 185.2))
    assert "as if it were for 1215x371" in text
    with pytest.raises(CalibrationError, match=r"for 1215x371; set calibrated_size in bag.yaml"):
        prepared(Calibration(width, height, P=(718.9, 0, 607.2, 0, 718.9, 185.2, 0, 0, 1)),
                 (width, height))  # fmt: skip


def test_implausible_and_unusual_intrinsics() -> None:
    assert find_implausible(CameraModel(1408, 376, 552.6, 552.6, 682.0, 238.8)) == ""  # KITTI-360
    assert "0 deg wide" in find_implausible(CameraModel(320, 192, 2e5, 2e5, 160, 96))
    assert "180 deg wide" in find_implausible(CameraModel(320, 192, 0.004, 0.004, 160, 96))
    assert "far from the middle" in find_implausible(CameraModel(320, 192, 200, 200, 300, 96))
    assert "fx 200.0 and fy 100.0" in find_unusual(CameraModel(320, 192, 200, 100, 160, 96))
    assert "as if it were for others" in find_unusual(CameraModel(320, 192, 200, 200, 115, 96))


def test_whoever_states_the_size_is_only_warned() -> None:
    cut = Calibration(320, 192, P=(200.0, 0, 10.0, 0, 200.0, 96.0, 0, 0, 1))
    with pytest.raises(CalibrationError, match="far from the middle"):
        prepared(cut)
    images = prepared(cut, calibrated_size=SIZE)
    assert images.camera.cx == 10.0 and "far from the middle" in images.notes[0]


def test_options_file(tmp_path) -> None:
    assert load_camera_options(tmp_path) == CameraImageConfig()
    (tmp_path / "camera.yaml").write_text("rectify: never\nwhite_level: 4095\n")
    assert load_camera_options(tmp_path / "00", tmp_path).white_level == 4095
    for line, message in (
        ("rectify: maybe", "'rectify' should be one of"),
        ("white_level: -1", "expected 0 to 65535"),
        ("calibrated_size: [320, 0]", "expected width and height"),
    ):
        (tmp_path / "camera.yaml").write_text(line)
        with pytest.raises(ConfigError, match=message):
            load_camera_options(tmp_path)

"""Recordings for the Rerun viewer: read back by Rerun itself, and opened in its web viewer."""

from __future__ import annotations

import http.server
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from headless_browser import HeadlessBrowser, find_browser
from tracked_answers import CAMERA, ORIGIN, STATES, tracked_answer, true_pose, walled_street

from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.rerun_recording import RerunRecording
from scmpr_ros.evaluation.state_colours import STATE_COLOURS
from scmpr_ros.pipeline.states import LOCALIZED
from scmpr_ros.semantics import PALETTE, class_id

COUNT = 6
_NO_RERUN = 'no rerun-sdk: pip install "scmpr_ros[viewer]"'


def write_recording(path: Path) -> None:
    image = np.full((CAMERA.height, CAMERA.width, 3), (250, 20, 240), np.uint8)
    with RerunRecording(path) as recording:
        recording.log_map(walled_street())
        recording.log_true_track(np.stack([true_pose(index) for index in range(COUNT)]))
        for index in range(COUNT):
            answer, truth = tracked_answer(index), true_pose(index)
            recording.log_answer(1e9 + 0.5 * index, image, CAMERA, answer, truth)
        assert not path.exists()


def read_recording(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows of every entity, as Rerun reads them."""
    rr = pytest.importorskip("rerun", reason=_NO_RERUN)
    reader = getattr(rr, "chunk", rr.experimental).RrdReader(path)
    rows: dict[str, list[dict[str, Any]]] = {}
    for chunk in reader.stream().to_chunks():
        batch = chunk.to_record_batch()
        columns = {name: batch.column(name) for name in batch.schema.names}
        if "stamp" in columns:  # nanoseconds
            columns["stamp"] = columns["stamp"].cast("int64")
        lists = {name: values.to_pylist() for name, values in columns.items()}
        rows.setdefault(chunk.entity_path, []).extend(
            dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)
        )
    return rows


def column(rows: list[dict[str, Any]], name: str) -> list[Any]:
    """Values of a component where it was logged, in the order of time."""
    given = [row for row in rows if row.get(name)]
    return [row[name] for row in sorted(given, key=lambda row: row.get("stamp") or 0)]


def test_recording_holds_map_tracks_beliefs_and_states(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason=_NO_RERUN)
    path = tmp_path / "new" / "drive.rrd"
    write_recording(path)
    assert [p.name for p in path.parent.iterdir()] == ["drive.rrd"]
    rows = read_recording(path)

    (points,) = column(rows["/map/points"], "Points3D:positions")
    (classes,) = column(rows["/map/points"], "Points3D:class_ids")
    assert set(classes) == {class_id("building"), class_id("road")}
    assert np.linalg.norm(points, axis=1).max() < 100  # less the origin, for float32
    places = np.array(column(rows["/map/places"], "Points3D:positions")[0])
    assert np.diff(places[:, 0]).tolist() == [5.0] * 4
    (track,) = column(rows["/truth/track"], "LineStrips3D:strips")
    assert np.diff(np.array(track[0])[:, 0]).tolist() == [5.0] * (COUNT - 1)

    tracked = column(rows["/estimate/track"], "Points3D:positions")
    assert [len(positions) for positions in tracked] == list(range(1, COUNT + 1))
    np.testing.assert_allclose(tracked[-1][-1], np.array(track[0][-1]) + (0, 1, 0), atol=1e-4)
    assert column(rows["/error_m/tracked"], "Scalars:scalars") == pytest.approx(
        np.full((COUNT, 1), 1.0)
    )
    assert column(rows["/error_m/single"], "Scalars:scalars")[0] == pytest.approx([20.0])
    assert column(rows["/error_m/three_sigma"], "Scalars:scalars")[0] == pytest.approx([3.0])
    assert column(rows["/belief/near"], "Scalars:scalars")[0] == pytest.approx([0.8])
    assert column(rows["/belief/off_map"], "Scalars:scalars")[0] == pytest.approx([0.1])
    assert column(rows["/belief/single"], "Scalars:scalars")[0] == pytest.approx([0.4])

    likely, unlikely = column(rows["/hypotheses"], "Arrows3D:radii")[0]
    assert likely > 2 * unlikely
    half_sizes = column(rows["/estimate/covariance"], "Ellipsoids3D:half_sizes")[0][0]
    assert sorted(half_sizes)[1:] == pytest.approx([1.5, 3.0])
    states = [state for (state,) in column(rows["/state"], "StateChange:state")]
    assert states == [STATES[min(index, 3)] for index in range(COUNT)]
    texts = [text for (text,) in column(rows["/log"], "TextLog:text")]
    assert texts == ["LOST: image 0", "TENTATIVE: image 1", "LOCALIZED: image 2"]


def test_recording_shows_images_masks_and_the_panorama_ahead(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason=_NO_RERUN)
    write_recording(tmp_path / "drive.rrd")
    rows = read_recording(tmp_path / "drive.rrd")
    camera = rows["/estimate/camera"]
    assert len(column(camera, "EncodedImage:blob")) == COUNT
    assert column(camera, "EncodedImage:media_type")[0] == ["image/jpeg"]
    assert column(camera, "Pinhole:resolution")[0] == [[CAMERA.width, CAMERA.height]]
    assert len(column(rows["/mask"], "SegmentationImage:buffer")) == COUNT
    (box,) = column(rows["/panorama/window"], "Boxes2D:half_sizes")[0]
    assert 2 * box[0] * 4 == pytest.approx(np.rad2deg(CAMERA.horizontal_fov_rad), rel=1e-3)
    stamps = sorted({row["stamp"] for row in camera if row.get("EncodedImage:blob")})
    assert stamps == [10**18 + 5 * 10**8 * index for index in range(COUNT)]


def test_other_recordings_can_be_included(tmp_path: Path) -> None:
    """As the demo does with that of the node, which does not know the truth."""
    pytest.importorskip("rerun", reason=_NO_RERUN)
    with RerunRecording(tmp_path / "node.rrd") as recording:
        recording.log_map(walled_street())
        recording.log_pose(1.0, tracked_answer(0).pose)
    with RerunRecording(tmp_path / "all.rrd") as recording:
        recording.include(tmp_path / "node.rrd")
        recording.log_match(1.0, tracked_answer(0).match, true_pose(0))
        with pytest.raises(ConfigError, match=r"no recording .*none\.rrd"):
            recording.include(tmp_path / "none.rrd")
    rows = read_recording(tmp_path / "all.rrd")
    assert column(rows["/belief/near"], "Scalars:scalars") == [[0.8]]
    assert column(rows["/error_m/single"], "Scalars:scalars") == [pytest.approx([20.0])]
    assert not any(entity.startswith("/map") for entity in rows)


def test_failed_recording_leaves_the_old_file(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason=_NO_RERUN)
    path = tmp_path / "drive.rrd"
    path.write_text("old")
    with pytest.raises(ValueError, match="stop"), RerunRecording(path) as recording:
        recording.log_pose(1.0, tracked_answer(0).pose)
        raise ValueError("stop")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_rerun_names_the_extra(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['rerun'] = None\n"
        "from pathlib import Path\n"
        "from scmpr_ros.evaluation.rerun_recording import RerunRecording\n"
        "RerunRecording(Path(sys.argv[1]))"
    )
    path = tmp_path / "drive.rrd"
    ended = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert "ConfigError: rerun-sdk is not installed" in ended.stderr
    assert 'pip install "scmpr_ros[viewer]"' in ended.stderr
    assert list(tmp_path.iterdir()) == []


# --- the web viewer --------------------------------------------------------------------------


class _CrossOriginFiles(http.server.SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """URL of the folder `tmp_path`."""
    serve = partial(_CrossOriginFiles, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def web_viewer(tmp_path: Path) -> Iterator[str]:
    """URL of the web viewer that comes with rerun-sdk."""
    pytest.importorskip("rerun", reason=_NO_RERUN)
    command = [sys.executable, "-u", "-m", "rerun_cli", "--serve-web", "--bind", "127.0.0.1"]
    command += ["--web-viewer-port", "0", "--port", "auto"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )  # fmt: skip
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.search(r"web-viewer at (http://[0-9.:]+)", line):
                break
        else:
            pytest.fail("the web viewer did not start")
        yield found[1]
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_web_viewer_shows_map_state_and_image(tmp_path: Path, served: str, web_viewer: str) -> None:
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium")
    write_recording(tmp_path / "drive.rrd")
    wanted = {
        "image": (250, 20, 240),
        "road": tuple(PALETTE[class_id("road")]),
        "building": tuple(PALETTE[class_id("building")]),
        "state": tuple(bytes.fromhex(STATE_COLOURS[LOCALIZED][1:])),
    }
    with HeadlessBrowser(program, tmp_path / "profile", 900, 600) as browser:
        browser.open(f"{web_viewer}/?url={served}/drive.rrd&renderer=webgl&theme=dark")
        give_up_s, missing = time.monotonic() + 240, set(wanted)
        while missing and time.monotonic() < give_up_s:
            picture = browser.screenshot().astype(int)
            missing = {
                name for name, colour in wanted.items()
                if (np.abs(picture - colour).max(axis=2) < 14).sum() < 30
            }  # fmt: skip
        assert not missing, browser.console[-5:]


def test_origin_is_kept_for_large_coordinates(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason=_NO_RERUN)
    write_recording(tmp_path / "drive.rrd")
    (origin,) = column(read_recording(tmp_path / "drive.rrd")["/map"], "origin_m")
    assert np.abs(np.array(origin) - ORIGIN).max() <= 50

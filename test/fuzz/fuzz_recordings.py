"""Coverage-guided fuzzing of the readers of bags and trajectories, with atheris.

    python test/fuzz/fuzz_recordings.py mcap WORK -max_total_time=600

WORK is a folder for inputs that reach new code; it starts with the seeds that this program makes
and with `test/fuzz/corpus/recordings`, whose files a test reads in every run. Anything but a drive,
a trajectory or a ScmprError is a finding, which libFuzzer writes to `crash-*`, as is an input of
more than 10 s or 2 GiB.
"""

from __future__ import annotations

import importlib
import logging
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from robot_bags import lidar, mounting, moving, odom, pose_at, write, write_ros1

CORPUS = Path(__file__).with_name("corpus") / "recordings"
BAGS, TRAJECTORIES = ("mcap", "db3", "bag"), ("txt", "csv", "npy", "pcd")
LIMITS = ("-timeout=10", "-rss_limit_mb=2048", "-max_len=40000", "-close_fd_mask=3")
_ROWS = [[k, 2.0 * k, 0.5, 0.0, 0.0, 0.0, 0.0, 1.0] for k in range(4)]
_NAMES = ("stamp_ns,x,y,z,qx,qy,qz,qw", "t,pose.position.x,pose.position.y,pose.position.z,a,b,c,d")


def read_or_refuse(path: Path) -> bool:
    """Whether a file is read; False if it is refused. Any other exception is a fault."""
    from scmpr_ros.errors import ScmprError

    try:
        _read_bag(path) if path.suffix[1:] in BAGS else _read_trajectory(path)
    except ScmprError as error:
        assert "\n" not in str(error), "an error is one sentence"
        return False
    return True


def _read_bag(path: Path) -> None:
    from scmpr_ros.datasets.recordings import open_drives

    (drive,) = open_drives(path)
    for frame in drive.scan_frames[:4]:
        assert np.isfinite(drive.scan(frame).xyz).all()
        assert np.isfinite(drive.T_world_lidar(frame)).all()


def _read_trajectory(path: Path) -> None:
    from scmpr_ros.datasets.trajectories import read_trajectory

    read = read_trajectory(path)
    assert len(read) and np.isfinite(read.T_world_body).all()
    assert read.stamps_s is None or (np.diff(read.stamps_s) > 0).all()


def write_seeds(folder: Path, suffix: str) -> None:
    """Write small files of every variant of a format."""
    times = [0.0, 0.1]
    streams = lidar(times), odom(times), mounting(with_camera=False)
    tf = lidar(times), moving(times, "map", "lidar", pose_at)
    for earlier in (*folder.glob("odometry.*"), *folder.glob("tf.*")):
        earlier.unlink()
    if suffix == "bag":
        write_ros1(folder / "odometry.bag", *streams)
        write_ros1(folder / "tf.bag", *tf)
    elif suffix in BAGS:
        for name, content in (("odometry", streams), ("tf", tf)):
            storage = "mcap" if suffix == "mcap" else "sqlite3"
            bag = write(folder / f".{name}", *content, storage=storage)
            shutil.move(bag / f"{bag.name}.{suffix}", folder / f"{name}.{suffix}")
            shutil.rmtree(bag)
    elif suffix == "npy":
        np.save(folder / "a.npy", np.tile(np.eye(4), (3, 1, 1)))
        np.save(folder / "b.npy", np.tile(np.eye(4)[:3].ravel(), (3, 1)).astype("f4"))
    elif suffix == "pcd":
        _write_pcd_seeds(folder)
    else:
        lines = [" ".join(map(str, row)) for row in _ROWS]
        matrix = " ".join(map(str, np.eye(4)[:3].ravel()))
        (folder / f"tum.{suffix}").write_text("# a comment\n" + "\n".join(lines))
        (folder / f"kitti.{suffix}").write_text(f"{matrix}\n{matrix}\n")
        (folder / f"cam0.{suffix}").write_text(f"7 {matrix} 0 0 0 1\n")
        for k, (names, mark) in enumerate(zip(_NAMES, ",;", strict=True)):
            rows = "\n".join(line.replace(" ", mark) for line in lines)
            head = names.replace(",", mark)
            (folder / f"named{k}.{suffix}").write_text(f"{head}\n{rows}\n")
        (folder / f"yaw.{suffix}").write_text("#time x y z yaw\n0 1 2 3 0.1\n1 2 2 3 0.2\n")
        (folder / f"euroc.{suffix}").write_text("1403636580838555648,1,2,3,1,0,0,0,0,0\n")


def _write_pcd_seeds(folder: Path) -> None:
    names = ("x", "y", "z", "intensity", "roll", "pitch", "yaw", "time")
    rows = np.array([_ROWS[0], _ROWS[1]], "<f4")
    rows[:, 4:7], rows[:, 7] = 0.1, [0, 1]
    for data in ("ascii", "binary"):
        head = (
            f"VERSION 0.7\nFIELDS {' '.join(names)}\nSIZE{' 4' * 8}\nTYPE{' F' * 8}\n"
            f"COUNT{' 1' * 8}\nWIDTH 2\nHEIGHT 1\nPOINTS 2\nDATA {data}\n"
        )
        text = "\n".join(" ".join(map(str, row)) for row in rows.tolist())
        body = rows.tobytes() if data == "binary" else text.encode()
        (folder / f"{data}.pcd").write_bytes(head.encode() + body)


def main() -> None:
    """Fuzz one format until libFuzzer's limits are reached."""
    import atheris

    suffix, work, *options = sys.argv[1:]
    assert suffix in BAGS + TRAJECTORIES, f"expected one of {BAGS + TRAJECTORIES}"
    Path(work).mkdir(parents=True, exist_ok=True)
    write_seeds(Path(work), suffix)
    for file in CORPUS.glob(f"*.{suffix}"):
        shutil.copy(file, work)
    logging.disable()
    with atheris.instrument_imports(include=["scmpr_ros.datasets", "rosbags"]):
        importlib.import_module("scmpr_ros.datasets.bags.reader")
        importlib.import_module("scmpr_ros.datasets.trajectories")
    path = Path(tempfile.mkdtemp(dir="/dev/shm")) / f"input.{suffix}"

    def one_input(data: bytes) -> None:
        path.write_bytes(data)
        read_or_refuse(path)

    atheris.Setup([sys.argv[0], work, *LIMITS, f"-artifact_prefix={work}/", *options], one_input)
    try:
        atheris.Fuzz()
    finally:
        shutil.rmtree(path.parent)


if __name__ == "__main__":
    main()

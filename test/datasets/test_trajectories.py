"""Trajectories of many programs are read as evo reads them; others are refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from circle_drive import CircleDrive
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from scmpr_ros.datasets.bags.writer import write_drive_bag
from scmpr_ros.datasets.trajectories import (
    Trajectory,
    TrajectoryConfig,
    find_trajectory,
    read_trajectory,
)
from scmpr_ros.errors import DatasetError
from scmpr_ros.geometry import R_BODY_OPTICAL, make_transform, rotation_z

YAWS = 0.3 * np.arange(6)
POSES = np.stack(
    [make_transform(rotation_z(yaw), np.array([2.0 * i, i * i, 0.1])) for i, yaw in enumerate(YAWS)]
)
STAMPS = 1_700_000_000.0 + 0.5 * np.arange(6)


def tum_rows(order: str = "xyzw") -> str:
    lines = ["# stamp x y z and a quaternion"]
    for stamp, T in zip(STAMPS, POSES, strict=True):
        q = Rotation.from_matrix(T[:3, :3]).as_quat()
        q = q if order == "xyzw" else q[[3, 0, 1, 2]]
        lines.append(" ".join(map(repr, [float(v) for v in (stamp, *T[:3, 3], *q)])))
    return "\n".join(lines) + "\n"


def matrix_rows(poses: np.ndarray = POSES) -> str:
    return "".join(" ".join(f"{v:.9e}" for v in T[:3].ravel()) + "\n" for T in poses)


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def assert_poses(read: Trajectory, stamped: bool = True, poses: np.ndarray = POSES) -> None:
    np.testing.assert_allclose(read.T_world_body, poses, atol=1e-7)
    if stamped:
        assert read.stamps_s is not None
        np.testing.assert_allclose(read.stamps_s, STAMPS, atol=1e-6)
    else:
        assert read.stamps_s is None


class TestFormats:
    def test_tum_as_evo_reads_it(self, tmp_path: Path) -> None:
        evo = pytest.importorskip("evo.tools.file_interface")
        path = written(tmp_path / "traj_lidar.txt", tum_rows())
        read, expected = read_trajectory(path), evo.read_tum_trajectory_file(str(path))
        assert_poses(read)
        np.testing.assert_allclose(read.T_world_body, expected.poses_se3, atol=1e-12)
        np.testing.assert_array_equal(read.stamps_s, expected.timestamps)

    def test_kitti_as_evo_reads_it(self, tmp_path: Path) -> None:
        evo = pytest.importorskip("evo.tools.file_interface")
        path = written(tmp_path / "optimized_poses.txt", matrix_rows())
        assert_poses(read_trajectory(path), stamped=False)
        expected = evo.read_kitti_poses_file(str(path)).poses_se3
        np.testing.assert_allclose(read_trajectory(path).T_world_body, expected, atol=1e-12)

    def test_euroc_as_evo_reads_it(self, tmp_path: Path) -> None:
        evo = pytest.importorskip("evo.tools.file_interface")
        head = "#timestamp [ns],p_RS_R_x [m],p_RS_R_y [m],p_RS_R_z [m],q_w,q_x,q_y,q_z,v_x\n"
        rows = []
        for stamp, T in zip(STAMPS, POSES, strict=True):
            x, y, z, w = Rotation.from_matrix(T[:3, :3]).as_quat()
            numbers = [repr(float(value)) for value in (*T[:3, 3], w, x, y, z, 0)]
            rows.append(",".join([str(round(stamp * 1e9)), *numbers]))
        path = written(tmp_path / "data.csv", head + "\n".join(rows) + "\n")
        expected = evo.read_euroc_csv_trajectory(str(path)).poses_se3
        assert_poses(read_trajectory(path))
        np.testing.assert_allclose(read_trajectory(path).T_world_body, expected, atol=1e-9)

    @pytest.mark.parametrize(
        ("names", "separator"),
        [
            ("stamp,x,y,z,qx,qy,qz,qw", ","),
            ("timestamp;tx;ty;tz;qx;qy;qz;qw", ";"),
            ("# time_s px py pz q_x q_y q_z q_w", " "),
            ("header.stamp.sec,pose.position.x,pose.position.y,pose.position.z,"
             "pose.orientation.x,pose.orientation.y,pose.orientation.z,pose.orientation.w", ","),
            ("Time [s], X [m], Y [m], Z [m], qx, qy, qz, qw", ","),
        ],
    )  # fmt: skip
    def test_named_columns(self, tmp_path: Path, names: str, separator: str) -> None:
        rows = "\n".join(tum_rows().splitlines()[1:]).replace(" ", separator)
        assert_poses(read_trajectory(written(tmp_path / "t.csv", f"{names}\n{rows}\n")))

    @pytest.mark.parametrize("unit", ["rad", "deg"])
    def test_yaw_and_nanoseconds(self, tmp_path: Path, unit: str) -> None:
        factor = 1.0 if unit == "rad" else 180 / np.pi
        rows = [
            f"{round(s * 1e9)},{T[0, 3]},{T[1, 3]},{T[2, 3]},{yaw * factor}"
            for s, T, yaw in zip(STAMPS, POSES, YAWS, strict=True)
        ]
        text = f"stamp_ns,x,y,z,yaw_{unit}\n" + "\n".join(rows)
        assert_poses(read_trajectory(written(tmp_path / "t.csv", text)))

    def test_positions_only_face_the_way_they_go(self, tmp_path: Path) -> None:
        path = written(tmp_path / "t.csv", "x,y,z\n0,0,0\n0,2,0\n0,4,1\n")
        read = read_trajectory(path)
        for T in read.T_world_body:
            np.testing.assert_allclose(T[:3, :3], rotation_z(np.pi / 2), atol=1e-12)
        np.testing.assert_array_equal(read.positions, [[0, 0, 0], [0, 2, 0], [0, 4, 1]])

    @pytest.mark.parametrize("shape", [(-1, 4, 4), (-1, 3, 4), (-1, 12)])
    def test_arrays_of_kiss_icp(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        rows = POSES if shape[1] == 4 else POSES[:, :3]
        np.save(tmp_path / "poses.npy", rows.reshape(shape))
        assert_poses(read_trajectory(tmp_path / "poses.npy"), stamped=False)

    @pytest.mark.parametrize("form", ["binary", "ascii"])
    def test_cloud_of_poses_of_lio_sam(self, tmp_path: Path, form: str) -> None:
        fields = ("x", "y", "z", "intensity", "roll", "pitch", "yaw", "time")
        dtype = np.dtype([(name, "<f4" if name != "time" else "<f8") for name in fields])
        rows = np.zeros(6, dtype)
        for axis, name in enumerate("xyz"):
            rows[name] = POSES[:, axis, 3]
        rows["yaw"], rows["time"] = YAWS, STAMPS
        head = (
            f"# .PCD v0.7\nVERSION 0.7\nFIELDS {' '.join(fields)}\nSIZE 4 4 4 4 4 4 4 8\n"
            f"TYPE F F F F F F F F\nCOUNT 1 1 1 1 1 1 1 1\nWIDTH 6\nHEIGHT 1\n"
            f"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS 6\nDATA {form}\n"
        )
        text = "".join(" ".join(map(str, row)) + "\n" for row in rows.tolist())
        body = rows.tobytes() if form == "binary" else text.encode()
        (tmp_path / "transformations.pcd").write_bytes(head.encode() + body)
        assert_poses(read_trajectory(tmp_path / "transformations.pcd"))

    def test_odometry_of_a_bag(self, tmp_path: Path) -> None:
        drive = CircleDrive()
        write_drive_bag(drive, tmp_path / "bag")
        read = read_trajectory(tmp_path / "bag")
        expected = np.stack([drive.T_world_lidar(frame) for frame in drive.frames])
        np.testing.assert_allclose(read.T_world_body, expected, atol=1e-9)
        assert read.source.endswith("bag (/kitti/ground_truth/odometry)")
        lone = read_trajectory(tmp_path / "bag" / "bag.mcap")
        np.testing.assert_array_equal(lone.stamps_s, read.stamps_s)

    @given(st.lists(st.tuples(*[st.floats(-1e5, 1e5)] * 2, st.floats(-3.1, 3.1)), min_size=1))
    def test_what_evo_writes_is_read_back(
        self, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, ...]]
    ) -> None:
        evo = pytest.importorskip("evo.tools.file_interface")
        from evo.core.trajectory import PoseTrajectory3D

        poses = [make_transform(rotation_z(yaw), np.array([x, y, 5.0])) for x, y, yaw in rows]
        stamps = np.arange(len(rows), dtype=float)
        path = tmp_path_factory.mktemp("evo") / "t.tum"
        evo.write_tum_trajectory_file(
            str(path), PoseTrajectory3D(poses_se3=poses, timestamps=stamps)
        )
        np.testing.assert_allclose(read_trajectory(path).T_world_body, np.stack(poses), atol=1e-6)


class TestAxes:
    def optical(self) -> tuple[np.ndarray, np.ndarray]:
        """Poses of a camera in a world of its own axes, and of the body that carries it."""
        steps = range(9)
        poses = [make_transform(rotation_z(0.1 * i), np.array([i, i * i / 20, 0])) for i in steps]
        body = np.stack(poses)
        R = make_transform(R_BODY_OPTICAL, np.zeros(3))
        return np.linalg.inv(R) @ body @ R, body

    def test_camera_poses_of_kitti_are_converted_when_asked(self, tmp_path: Path) -> None:
        camera, body = self.optical()
        path = written(tmp_path / "00.txt", matrix_rows(camera))
        with pytest.raises(DatasetError, match=r"along the z axis .* convert them by axes optical"):
            read_trajectory(path)
        read = read_trajectory(path, TrajectoryConfig(axes="optical"))
        assert_poses(read, stamped=False, poses=body)

    def test_camera_poses_in_a_world_with_z_up(self, tmp_path: Path) -> None:
        _, body = self.optical()
        camera = body @ make_transform(R_BODY_OPTICAL, np.zeros(3))
        path = written(tmp_path / "cam0.txt", matrix_rows(camera))
        with pytest.raises(DatasetError, match="convert them by axes camera"):
            read_trajectory(path)
        read = read_trajectory(path, TrajectoryConfig(axes="camera"))
        assert_poses(read, stamped=False, poses=body)

    def test_poses_with_z_down(self, tmp_path: Path) -> None:
        turned = make_transform(np.diag([1.0, -1.0, -1.0]), np.zeros(3))
        path = written(tmp_path / "imu.txt", matrix_rows(POSES @ turned))
        with pytest.raises(DatasetError, match=r"180 deg or more.*axes frd"):
            read_trajectory(path)
        assert_poses(read_trajectory(path, TrajectoryConfig(axes="frd")), stamped=False)

    def test_another_order_of_the_quaternion(self, tmp_path: Path) -> None:
        path = written(tmp_path / "t.txt", tum_rows("wxyz"))
        with pytest.raises(DatasetError, match="set quaternion wxyz"):
            read_trajectory(path)
        assert_poses(read_trajectory(path, TrajectoryConfig(quaternion="wxyz")))


TUM = "1 0 0 0 0 0 0 1\n2 1 0 0 0 0 0 1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no lines with poses"),
        ("# only a comment\n", "no lines with poses"),
        (TUM + "3 2 0 0 0 0 0\n", "line 3 has 7 columns, and the first one 8"),
        (TUM + "3 2 0 zero 0 0 0 1\n", "line 3: 'zero' is not a number"),
        (TUM + "3 2 nan 0 0 0 0 1\n", "1 of 3 poses are not finite, the first is pose 3"),
        (TUM + "1.5 2 0 0 0 0 0 1\n", "stamps do not increase: that of pose 3, 1.500000 s"),
        (TUM + "2 2 0 0 0 0 0 1\n", "stamps do not increase"),
        (
            TUM + "3 2 0 0 0 0 0 2\n",
            "1 of 3 quaternions are not of length 1, the first is .*pose 3",
        ),
        ("1,5 0,0 0,1 0,0 0 0 0 1\n", "'1,5' has a decimal comma"),
        ("1,5;0,0;0,1;0,0;0;0;0;1\n", "'1,5' has a decimal comma"),
        ("1 2 3\n", "found 3 columns: a line of TUM has 8 columns"),
        ("1700000000000000000 0 0 0 0 0 0 1\n", "stamps of TUM are in seconds"),
        ("1 0 0 0 0 2 0 0 0 0 1 0\n", "1 of 1 poses have no rotation matrix"),
        ("x,y\n1,2\n", "no column z; the columns are x, y"),
        ("stamp,lat,lon,alt\n1,2,3,4\n", "latitude and longitude"),
        ("x,y,z,heading\n1,2,3,0\n", "clockwise from north"),
        ("x,y,z,yaw\n1,2,3,90\n", "yaw reaches 90.0, which is no angle in radians"),
        ("x,y,z,qx,qy\n1,2,3,0,0\n", "of a quaternion there are only the columns qx, qy"),
        ("stamp,x,y,z\n1700000000000000000,2,3,4\n", "call the column stamp_ns"),
        ("x,y,z,px\n1,2,3,4\n", "two columns could be x"),
        ("x,y,z\n1,2,3,4\n", "3 columns have names, but line 2 has 4 columns"),
    ],
)
def test_refused_in_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path / "t.txt", text)
    with pytest.raises(DatasetError, match=message) as caught:
        read_trajectory(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.txt", b"\0" * 80, "not a text file"),
        ("t.txt", b"1 2 \xff\xfe", "not a text file"),
        ("t.npy", b"", "no array of NumPy"),
        ("t.npy", b"\x93NUMPY", "no array of NumPy"),
        ("t.pcd", b"VERSION 0.7\n", "no PCD header"),
        ("t.pcd", b"VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 9\nDATA binary\n\1",
         "9 points of 12 bytes in 1 bytes"),
        ("t.pcd", b"\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 1\nDATA ascii\n1 2 3\n",
         "a trajectory also roll, pitch, yaw"),
        ("t.bag", b"#ROSBAG V2.0\n", "damaged or unsupported"),
        ("t.mcap", b"\x89MCAP0\r\n", "damaged or unsupported"),
    ],
)  # fmt: skip
def test_damaged_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read_trajectory(tmp_path / name)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no trajectory .*nowhere\.txt: the file does not"):
        read_trajectory(tmp_path / "nowhere.txt")
    with pytest.raises(DatasetError, match="is a folder and not a trajectory"):
        read_trajectory(tmp_path)
    np.save(tmp_path / "t.npy", np.zeros((3, 5)))
    with pytest.raises(DatasetError, match=r"the array has shape \(3, 5\)"):
        read_trajectory(tmp_path / "t.npy")


def test_a_trajectory_beside_a_map_is_found(tmp_path: Path) -> None:
    assert find_trajectory(tmp_path) is None
    written(tmp_path / "notes.txt", "nothing")
    written(tmp_path / "traj_imu.txt", tum_rows())
    assert find_trajectory(tmp_path) == tmp_path / "traj_imu.txt"
    written(tmp_path / "traj_lidar.txt", tum_rows())
    assert find_trajectory(tmp_path) == tmp_path / "traj_lidar.txt"
    written(tmp_path / "00_poses_tum.txt", tum_rows())
    with pytest.raises(DatasetError, match=r"several trajectories \(traj_lidar.txt, 00_poses_tum"):
        find_trajectory(tmp_path)
    (tmp_path / "traj_lidar.txt").unlink()
    (tmp_path / "traj_imu.txt").unlink()
    written(tmp_path / "01_poses_tum.txt", tum_rows())
    with pytest.raises(DatasetError, match=r"\(00_poses_tum.txt, 01_poses_tum.txt\): name one"):
        find_trajectory(tmp_path)

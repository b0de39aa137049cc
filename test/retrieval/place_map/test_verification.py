"""Every changed byte of a map is found, and a killed process leaves a map that verifies."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from place_maps import header, tile

from scmpr_ros.errors import MapFormatError
from scmpr_ros.retrieval.place_map import PlaceMap, manifest, write_place_map
from scmpr_ros.retrieval.place_map.manifest import FORMAT
from scmpr_ros.retrieval.place_map.verification import faults_of

KILL_WHILE_WRITING = """
import os, random, signal, sys, time
sys.path.insert(0, sys.argv[2])
from itertools import count
from pathlib import Path
from place_maps import header, tile
from scmpr_ros.retrieval.place_map import PlaceMap, write_place_map
from scmpr_ros.retrieval.place_map.operations import update_place_map
from scmpr_ros.retrieval.place_map.verification import faults_of

folder = Path(sys.argv[1])

def write_whole():
    write_place_map(folder, header(), [tile(key, 4, 10 * i) for i, key in enumerate("abc")])

def write_and_update(number):
    write_whole()
    update_place_map(folder, [tile(key, 4, 10 * i, number) for i, key in enumerate("b")])

def write_for_ever():
    for number in count(1):
        write_and_update(number)

began_s = time.monotonic()
write_and_update(1)
cycle_s = time.monotonic() - began_s
generator = random.Random(0)
contents, leftovers = set(), 0
for _ in range(20):
    child = os.fork()
    if child == 0:
        write_for_ever()
    time.sleep(generator.uniform(0, 2 * cycle_s))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert faults_of(folder) == [], faults_of(folder)
    place_map = PlaceMap.load(folder)
    assert len(place_map) == 12
    contents.add(float(place_map.descriptors[7].sum()))
    leftovers += len(list(folder.rglob("*.safetensors*"))) > 4
print(len(contents), leftovers)
"""


def test_every_file_is_compared(tmp_path: Path) -> None:
    folder = tmp_path / "map"
    write_place_map(folder, header(), [tile("a"), tile("b")])
    assert faults_of(folder) == []
    generator = random.Random(0)
    for path in filter(Path.is_file, folder.rglob("*")):
        content = path.read_bytes()
        for _ in range(10):
            changed = bytearray(content)
            changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
            path.write_bytes(changed)
            faults = faults_of(folder)
            assert len(faults) == 1 and str(path) in faults[0], (path, faults)
        path.write_bytes(content[:-7])
        assert str(path) in faults_of(folder)[0]
        path.unlink()
        assert len(faults_of(folder)) == 1
        path.write_bytes(content)
    assert faults_of(folder) == []


def test_all_faults_are_listed(tmp_path: Path) -> None:
    folder = tmp_path / "map"
    write_place_map(folder, header(), [tile("a"), tile("b"), tile("c")])
    for path in folder.glob("tiles/[ac]-*"):
        path.write_bytes(b"x" * path.stat().st_size)
    assert len(faults_of(folder)) == 2
    assert "no place map there" in faults_of(tmp_path / "nowhere")[0]


def changed_value(content: Any, generator: random.Random) -> None:
    """Change or remove one value somewhere in JSON content."""
    values: list[Any] = [None, -1, 0, 1e308, 2**70, "x", [], {}, [1] * 3, "../../etc/passwd", True]
    while True:
        key = generator.choice(list(content) if isinstance(content, dict) else range(len(content)))
        if isinstance(content[key], (dict, list)) and content[key] and generator.random() < 0.8:
            content = content[key]
            continue
        if isinstance(content, dict) and generator.random() < 0.2:
            del content[key]
        else:
            content[key] = generator.choice(values)
        return


def test_a_forged_manifest_is_refused_in_one_line(tmp_path: Path) -> None:
    """Its checksum is right, its content is not."""
    folder = tmp_path / "map"
    write_place_map(folder, header(), [tile("a"), tile("b", 3, 9)])
    path, generator = folder / "metadata.json", random.Random(0)
    original, refused = path.read_text(), 0
    for _ in range(300):
        content = json.loads(original)
        del content["checksum"], content["format"]
        changed_value(content, generator)
        checksum = manifest._checksum(content)
        path.write_text(json.dumps({"format": FORMAT, "checksum": checksum, **content}))
        try:
            PlaceMap.load(folder)
        except MapFormatError as error:
            refused += 1
            assert "\n" not in str(error) and str(folder) in str(error)
            assert faults_of(folder)
    assert refused > 150


@pytest.mark.slow
def test_a_killed_process_leaves_the_old_map_or_the_new_one(tmp_path: Path) -> None:
    folder, tests = tmp_path / "map", Path(__file__).parents[2]
    command = [sys.executable, "-c", KILL_WHILE_WRITING, str(folder), str(tests)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    contents, leftovers = map(int, run.stdout.split())
    assert contents > 1 and leftovers > 0, f"not killed in the middle: {run.stdout}"
    write_place_map(folder, header(), [tile("a")])
    assert {path.name.split("-")[0] for path in folder.rglob("*") if path.is_file()} == {
        "a", "metadata.json", "shared"
    }, "what killed processes left is gone"  # fmt: skip

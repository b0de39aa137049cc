"""Tasks in processes: their results, their order, and errors that are not tried again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from scmpr_ros.errors import DatasetError
from scmpr_ros.pipeline.task_runner import InProcess, task_runner


def test_threads_of_a_process() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for single_threaded, expected in ((True, 1), (False, 2)):
            runner = InProcess(single_threaded)
            assert runner.run(lambda _: torch.get_num_threads(), [0, 0], "counting") == [
                expected, expected
            ]  # fmt: skip
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_processes(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed: the extra `cluster`")
    tries, refused = tmp_path / "tries", DatasetError("tile 3 is refused")

    def attempt(number: int) -> int:
        with tries.open("a") as file:
            file.write(f"{number}\n")
        if number == 3:
            raise refused
        if number == 5 and tries.read_text().splitlines().count("5") == 1:
            os._exit(1)  # the process dies, and its task is tried again
        return number**2

    with task_runner("", 2, True) as runner:
        assert runner.run(attempt, [2, 1, 5, 4], "squaring") == [4, 1, 25, 16]
        assert tries.read_text().split().count("5") == 2
        with pytest.raises(DatasetError, match="tile 3 is refused"):
            runner.run(attempt, [3], "squaring")
    assert tries.read_text().split().count("3") == 1

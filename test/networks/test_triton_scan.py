"""The Triton kernels: results in Triton's interpreter, and compilation for a GPU.

Triton decides at import whether it interprets, and other tests import it. So this file also runs as
a separate program with TRITON_INTERPRET set, which writes its measurements to a file for the tests
below. Blocks are small there, so that images of a few pixels take several chunks.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from scmpr_ros.errors import ConfigError
from scmpr_ros.networks import selective_scan
from scmpr_ros.networks.selective_scan import reference, triton_scan

ARGUMENTS = ("u", "delta", "A", "B", "C", "D", "bias")


@dataclass(frozen=True)
class Case:
    """An image scanned in each of `orders`, with one shared u or one u per order."""

    height: int
    width: int
    batch: int = 1
    dim: int = 3
    state: int = 1
    orders: tuple[int, ...] = (0, 1, 2, 3)
    shared: bool = True
    softplus: bool = True
    longest_step: float = 1.0
    block: tuple[int, int] = (8, 2)  # positions, channels
    dtype: str = "float32"

    def arguments(self) -> list[Tensor]:
        torch.manual_seed(0)
        directions, grid = len(self.orders), (self.batch, self.height, self.width)
        sources = 1 if self.shared else directions
        u, delta, B, C = (
            torch.randn(n, *grid, channels)
            for n, channels in (
                (sources, self.dim), (directions, self.dim),
                (directions, self.state), (directions, self.state),
            )
        )  # fmt: skip
        A = -0.01 - 2 * torch.rand(directions, self.dim, self.state)
        D, bias = torch.randn(2, directions, self.dim)
        delta = delta * self.longest_step - 1
        if not self.softplus:
            delta, bias = delta.abs(), bias.abs()
        dtype = getattr(torch, self.dtype)
        return [x.to(dtype).requires_grad_() for x in (u, delta, A, B, C, D, bias)]


CASES = {
    "two chunks, one channel more than a block": Case(3, 5),
    "one pixel": Case(1, 1, dim=1),
    "one row of three chunks": Case(1, 19, dim=2, orders=(0, 2)),
    "one column, not a whole chunk": Case(7, 1, dim=1),
    "whole chunks and blocks": Case(4, 4, dim=2),
    "batch of 3, blocks of one channel": Case(3, 2, batch=3, dim=2, orders=(3, 0), block=(4, 1)),
    "state of 3": Case(4, 3, dim=2, state=3, orders=(1, 2)),
    "grouped sequences": Case(1, 21, orders=(0, 0, 0), shared=False, dim=2),
    "grouped sequences, state of 2": Case(
        1, 5, batch=2, dim=1, state=2, orders=(0, 0), shared=False
    ),
    "an image for each order": Case(3, 4, batch=2, dim=1, shared=False),
    "one reversed order": Case(3, 5, orders=(3,)),
    "orders that do not repeat": Case(2, 5, dim=1, orders=(3, 1, 1, 2, 0)),
    "without softplus": Case(3, 5, softplus=False, orders=(1,)),
    "steps on both sides of softplus's threshold": Case(3, 5, orders=(1,), longest_step=30.0),
    "decays that underflow": Case(3, 5, orders=(1, 2), longest_step=1e4),
    "decays that underflow, without softplus": Case(
        3, 5, orders=(1, 2), softplus=False, longest_step=1e4
    ),
    "float64": Case(3, 5, orders=(1, 2), dtype="float64"),
    "float64, batch and state": Case(
        1, 5, batch=2, dim=1, state=2, orders=(0, 3), block=(4, 1), dtype="float64"
    ),
}
TOLERANCES = {"float32": (1e-5, 1e-4), "float64": (1e-13, 1e-12)}


# --- in the interpreter ---------------------------------------------------------------------------


def scan(case: Case, arguments: list[Tensor]) -> Tensor:
    """Scan with our kernels, in small blocks."""
    triton_scan.BLOCK = triton_scan.Block(*case.block, warps=4)
    return triton_scan.scan_grid(*arguments, case.softplus, case.orders)  # type: ignore[arg-type]


def errors(case: Case) -> dict[str, float]:
    """Errors of outputs and gradients against float64, relative to the largest value."""
    ours = case.arguments()
    exact = [x.detach().double().requires_grad_() for x in ours]
    y = scan(case, ours)
    expected = reference.scan_grid(*exact, case.softplus, case.orders)  # type: ignore[arg-type]
    weight = torch.randn_like(expected)
    gradients = torch.autograd.grad((y * weight.to(y.dtype)).sum(), ours)
    exact_gradients = torch.autograd.grad((expected * weight).sum(), exact)
    assert [x.dtype for x in (y, *gradients)] == [ours[0].dtype] * (1 + len(ours))
    return {
        name: _relative(got, want)
        for name, got, want in zip(
            ("y", *ARGUMENTS), (y, *gradients), (expected, *exact_gradients), strict=True
        )
    }


def _relative(got: Tensor, want: Tensor) -> float:
    """Relative error; NaN if either tensor contains NaN."""
    return float(((got.double() - want).abs().max() / want.abs().max().clamp_min(1e-300)).detach())


def half_precision() -> dict[str, float]:
    """Errors for bfloat16 u and delta, against the same numbers in float32; checks dtypes."""
    case = Case(1, 9, dim=2)
    arguments = [x.detach() for x in case.arguments()]
    arguments[:2] = [x.bfloat16() for x in arguments[:2]]
    half = [x.requires_grad_() for x in arguments]
    full = [x.detach().float().requires_grad_() for x in half]
    y, expected = scan(case, half), scan(case, full)
    gradients = torch.autograd.grad(y.sum(), half)
    assert y.dtype == torch.float32
    assert [x.dtype for x in gradients] == [x.dtype for x in half]
    exact = torch.autograd.grad(expected.sum(), full)
    pairs = zip(("y", *ARGUMENTS), (y, *gradients), (expected, *exact), strict=True)
    return {name: _relative(got, want.double()) for name, got, want in pairs}


def repeatable() -> bool:
    """Whether two runs are bit-identical."""
    case = Case(3, 3, dim=2)
    runs = []
    for _ in range(2):
        arguments = case.arguments()
        y = scan(case, arguments)
        runs.append([y, *torch.autograd.grad(y.square().sum(), arguments)])
    return all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def after_nan() -> list[bool]:
    """Which outputs of a row are NaN if the third step is."""
    case = Case(1, 5, dim=1, orders=(0,))
    arguments = [x.detach() for x in case.arguments()]
    arguments[1][0, 0, 0, 2] = torch.nan
    result: list[bool] = scan(case, arguments).isnan().flatten().tolist()
    return result


if __name__ == "__main__":
    import triton
    import triton.language as tl

    from scmpr_ros.networks.selective_scan.triton_kernels import joined_back, joined_before

    @triton.jit
    def scan_both_ways(decays, entries, before, gradients, LENGTH: tl.constexpr):
        at = tl.arange(0, LENGTH)[:, None]
        decay, entry = tl.load(decays + at), tl.load(entries + at)
        scanned = tl.associative_scan((decay, tl.zeros_like(entry), entry), 0, joined_before)
        tl.store(before + at, scanned[1])
        one = tl.full([LENGTH, 1], 1.0, tl.float64)
        scanned = tl.associative_scan((one, entry, decay), 0, joined_back, reverse=True)
        tl.store(gradients + at, scanned[1])

    def both_ways() -> list[list[float]]:
        decays = torch.tensor([7.0, 2.0, 0.0, 3.0], dtype=torch.float64)
        entries = torch.tensor([1.0, 10.0, 100.0, 1000.0], dtype=torch.float64)
        before, gradients = torch.empty(2, 4, dtype=torch.float64)
        scan_both_ways[(1,)](decays, entries, before, gradients, LENGTH=4)
        return [before.tolist(), gradients.tolist()]

    measured = {
        "cases": {name: errors(case) for name, case in CASES.items()},
        "both ways": both_ways(), "half precision": half_precision(), "repeatable": repeatable(),
        "after nan": after_nan(), "unavailable": triton_scan.unavailable("cpu"),
    }  # fmt: skip
    Path(sys.argv[1]).write_text(json.dumps(measured))


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> dict[str, Any]:
    """Measurements of this file, run as a program."""
    pytest.importorskip("triton", reason="the kernels are Triton's")
    results = tmp_path_factory.mktemp("triton") / "results.json"
    paths = os.pathsep.join(filter(None, (str(repository), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {
        "TRITON_INTERPRET": "1",
        "PYTHONPATH": paths,
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, __file__, str(results)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert run.returncode == 0, run.stderr
    measured: dict[str, Any] = json.loads(results.read_text())
    return measured


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_recurrence(interpreted: dict[str, Any], name: str) -> None:
    measured = dict(interpreted["cases"][name])
    output_tolerance, gradient_tolerance = TOLERANCES[CASES[name].dtype]
    assert measured.pop("y") <= output_tolerance
    assert set(measured) == set(ARGUMENTS)
    assert {k: error for k, error in measured.items() if not error <= gradient_tolerance} == {}


def test_forward_and_backward_scans_by_hand(interpreted: dict[str, Any]) -> None:
    before, gradients = interpreted["both ways"]
    # states 1, 12, 100, 1300, each before its entry of 1, 10, 100, 1000
    assert before == [0, 2, 0, 300]
    # back: 1000; 100 + 3 x 1000; 10 + 0 x 3100; 1 + 2 x 10
    assert gradients == [21, 10, 3100, 1000]


def test_half_precision_inputs_are_not_rounded_again(interpreted: dict[str, Any]) -> None:
    measured = interpreted["half precision"]
    rounded = {name: measured.pop(name) for name in ("u", "delta")}
    assert all(error <= 2**-7 for error in rounded.values())  # the interpreter truncates
    assert all(error <= 1e-6 for error in measured.values())


def test_runs_are_bit_identical(interpreted: dict[str, Any]) -> None:
    assert interpreted["repeatable"]


def test_nan_propagates(interpreted: dict[str, Any]) -> None:
    assert interpreted["after nan"] == [False, False, True, True, True]


def test_is_never_chosen_for_a_cpu(interpreted: dict[str, Any]) -> None:
    assert "needs a GPU" in interpreted["unavailable"]


# --- compiled -------------------------------------------------------------------------------------


def compiled(kernel: str, **constants: int) -> Any:
    """Compile a kernel for an H100; skip if the tools are missing."""
    triton = pytest.importorskip("triton", reason="the kernels are Triton's")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from scmpr_ros.networks.selective_scan import triton_kernels

    if triton_kernels.INTERPRETED:
        pytest.skip("Triton interprets in this process")
    try:
        assert triton.knobs.nvidia.ptxas.path and triton.knobs.nvidia.cuobjdump.path
    except RuntimeError as error:
        pytest.skip(f"this Triton has no assembler for NVIDIA GPUs: {error}")
    function = getattr(triton_kernels, kernel)
    block = triton_scan.BLOCK
    constants |= {"POSITIONS": block.positions, "CHANNELS": block.channels}
    sizes = {"batch", "height", "width", "dim", "orders", "period"}
    signature = {
        name: "constexpr" if name in constants else "i32" if name in sizes else "*fp32"
        for name in function.arg_names
    }
    aligned = {  # as torch's memory and VMamba's numbers of channels are
        (i,): [["tt.divisibility", 16]]
        for i, (name, kind) in enumerate(signature.items())
        if kind == "*fp32" or name == "dim"
    }
    used = {name: value for name, value in constants.items() if name in signature}
    return triton.compile(
        ASTSource(function, signature, used, aligned),
        target=GPUTarget("cuda", 90, 32),
        options={"num_warps": block.warps, "enable_fp_fusion": True},
    )


def resources(kernel: Any, folder: Path) -> dict[str, int]:
    """Registers and stack bytes per thread, from the machine code."""
    import triton

    binary = folder / "kernel.cubin"
    binary.write_bytes(kernel.asm["cubin"])
    command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", str(binary)]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in re.findall(r"([A-Z]+):(\d+)", report)}


@pytest.mark.parametrize("softplus", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kernel", ["forward", "backward"])
def test_compiles_for_a_gpu_without_spilling(
    kernel: str, softplus: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    code = compiled(kernel, SHARED=True, SOFTPLUS=softplus, SAVE=True)
    used = resources(code, tmp_path)
    assert (used["STACK"], used["LOCAL"]) == (0, 0)
    programs = 65536 // (32 * triton_scan.BLOCK.warps * used["REG"])  # per multiprocessor
    assert programs >= 2
    # Channels are adjacent in memory and accessed four at a time.
    assert "ld.global.v4" in code.asm["ptx"] and "st.global.v4" in code.asm["ptx"]
    # Atomic sums would differ from run to run.
    assert "atom" not in code.asm["ptx"] and "red.global" not in code.asm["ptx"]


# --- unavailable ----------------------------------------------------------------------------------


def test_a_cpu_without_the_interpreter_is_refused() -> None:
    case = Case(1, 2)
    if triton_scan._interpreted():
        pytest.skip("Triton interprets in this process")
    with pytest.raises(ConfigError, match="triton is not available: needs a GPU"):
        scan_in_default_blocks(case)


def scan_in_default_blocks(case: Case) -> Tensor:
    return triton_scan.scan_grid(*case.arguments(), case.softplus, case.orders)  # type: ignore[arg-type]


def test_a_missing_triton_gives_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = f"{selective_scan.__name__}.triton_kernels"
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, kernels, raising=False)
    monkeypatch.delattr(selective_scan, "triton_kernels", raising=False)
    triton_scan._kernels.cache_clear()
    try:
        assert "triton, which does not import" in (triton_scan.unavailable("cuda") or "")
        with pytest.raises(ConfigError, match="TRITON_INTERPRET"):
            scan_in_default_blocks(Case(1, 2))
    finally:
        triton_scan._kernels.cache_clear()


def test_orders_are_packed_by_their_period() -> None:
    assert triton_scan._packed((0,) * 200) == (0, 1)
    assert triton_scan._packed((0, 1, 2, 3)) == (0b11_10_01_00, 4)
    assert triton_scan._packed((2, 1, 2, 1, 2)) == (0b01_10, 2)
    with pytest.raises(ConfigError, match="at most 15, got 16"):
        triton_scan._packed((0,) * 15 + (1,))

"""Every backend of the scan agrees with the plain recurrence in float64, forward and backward."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.networks.selective_scan import (
    BACKENDS,
    backend_for,
    backends,
    cpp,
    forced_backend,
    mamba,
    selective_scan,
    ss2d,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Operations are tiny: threads would mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


needs_compiler = pytest.mark.skipif(
    cpp.unavailable("cpu") is not None, reason=f"C++ scan: {cpp.unavailable('cpu')}"
)
every_backend = pytest.mark.parametrize(
    "backend", [pytest.param("cpp", marks=needs_compiler), "torch", "doubling"]
)


def sequences(batch: int, dim: int, length: int, state: int, groups: int, step: float) -> list:
    """u, delta, A, B, C, D, delta_bias of `selective_scan`."""
    shapes = [
        (batch, dim, length), (batch, dim, length), (dim, state),
        (batch, groups, state, length), (batch, groups, state, length), (dim,), (dim,),
    ]  # fmt: skip
    arguments = [torch.randn(shape) for shape in shapes]
    arguments[1] *= step
    arguments[2] = -torch.rand(dim, state) - 0.01
    return arguments


def images(batch: int, height: int, width: int, dim: int, state: int, step: float) -> list:
    """u, delta, A, B, C, D, delta_bias of `ss2d`."""
    grid = (4, batch, height, width)
    shapes = [(*grid[1:], dim), (*grid, dim), (4, dim, state), (*grid, state), (*grid, state)]
    arguments = [torch.randn(shape) for shape in (*shapes, (4, dim), (4, dim))]
    arguments[1] *= step
    arguments[2] = -torch.rand(4, dim, state) - 0.01
    return arguments


def strided(x: Tensor) -> Tensor:
    """The same values with gaps of NaN between them in memory."""
    gaps = torch.full((*x.shape, 2), float("nan"))
    gaps[..., 0] = x
    return gaps[..., 0]


def assert_agrees(scan: Callable[..., Tensor], arguments: list[Tensor], backend: str) -> None:
    """Compare outputs to 1e-5 and gradients to 1e-4, relative to the largest, with float64."""
    ours = [strided(a).requires_grad_() for a in arguments]
    exact = [a.double().requires_grad_() for a in arguments]
    y = scan(*ours, delta_softplus=True, backend=backend)
    expected = scan(*exact, delta_softplus=True, backend="reference")
    torch.testing.assert_close(
        y.double(), expected, rtol=1e-5, atol=1e-5 * float(expected.detach().abs().max())
    )
    weight = torch.randn_like(y)
    gradients = torch.autograd.grad((y * weight).sum(), ours)
    references = torch.autograd.grad((expected * weight.double()).sum(), exact)
    for got, want in zip(gradients, references, strict=True):
        torch.testing.assert_close(
            got.double(), want, rtol=1e-4, atol=1e-4 * float(want.abs().max() + 1e-6)
        )


STEPS = st.sampled_from([1e-3, 1.0, 30.0])
few = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@every_backend
@few
@given(
    batch=st.sampled_from([1, 2]), length=st.integers(1, 40), state=st.sampled_from([1, 3]),
    groups=st.sampled_from([1, 2]), step=STEPS, seed=st.integers(0, 10_000),
)  # fmt: skip
def test_sequences(
    backend: str, batch: int, length: int, state: int, groups: int, step: float, seed: int
) -> None:
    torch.manual_seed(seed)
    assert_agrees(selective_scan, sequences(batch, 4, length, state, groups, step), backend)


@every_backend
@few
@given(
    batch=st.sampled_from([1, 2]), height=st.integers(1, 5), width=st.integers(1, 7),
    dim=st.sampled_from([3, 16, 21]), state=st.sampled_from([1, 3]), step=STEPS,
    seed=st.integers(0, 10_000),
)  # fmt: skip
def test_images(
    backend: str, batch: int, height: int, width: int, dim: int, state: int, step: float, seed: int
) -> None:
    torch.manual_seed(seed)
    assert_agrees(ss2d, images(batch, height, width, dim, state, step), backend)


@every_backend
def test_gradients_by_finite_differences(backend: str) -> None:
    torch.manual_seed(0)
    small = [a.double().requires_grad_() for a in images(1, 2, 3, 2, 2, 1.0)]
    assert torch.autograd.gradcheck(lambda *a: ss2d(*a, True, backend=backend), small)
    small = [a.double().requires_grad_() for a in sequences(1, 2, 5, 2, 2, 1.0)]
    assert torch.autograd.gradcheck(lambda *a: selective_scan(*a, True, backend=backend), small)


def recurrence_by_hand(u: list[float], delta: float, A: float, B: float, C: float) -> list[float]:
    h, y = 0.0, []
    for x in u:
        h = torch.tensor(delta * A).exp().item() * h + delta * B * x
        y.append(C * h)
    return y


@pytest.mark.parametrize("backend", ["reference", "torch", "doubling"])
def test_the_recurrence_by_hand(backend: str) -> None:
    """Checks the reference as well: one channel, no D, no softplus."""
    u = [1.0, 0.0, -2.0, 0.5]
    expected = recurrence_by_hand(u, 0.5, -1.2, 2.0, 3.0)
    one = torch.ones(1, 1, 4)
    y = selective_scan(
        torch.tensor(u)[None, None], 0.5 * one, torch.tensor([[-1.2]]), 2 * one, 3 * one,
        backend=backend,
    )  # fmt: skip
    torch.testing.assert_close(y[0, 0], torch.tensor(expected))


@every_backend
def test_an_impulse_reaches_all_later_pixels_of_each_order(backend: str) -> None:
    """Without decay a pixel adds to all later ones: along rows, columns, and reversed."""
    u = torch.zeros(1, 3, 4, 1)
    u[0, 1, 2] = 1
    one, none = torch.ones(4, 1, 3, 4, 1), torch.zeros(4, 1)
    B = one * torch.tensor([1.0, 10.0, 100.0, 1000.0]).view(4, 1, 1, 1, 1)
    y = ss2d(u, one, torch.zeros(4, 1, 1), B, one, none, backend=backend)[0, :, :, 0]
    forward = [[0, 0, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]]
    down = [[0, 0, 0, 10], [0, 0, 10, 10], [0, 0, 10, 10]]
    backward = [[100, 100, 100, 100], [100, 100, 100, 0], [0, 0, 0, 0]]
    up = [[1000, 1000, 1000, 0], [1000, 1000, 1000, 0], [1000, 1000, 0, 0]]
    torch.testing.assert_close(y, torch.tensor([forward, down, backward, up]).sum(0).float())


@every_backend
def test_half_precision_accumulates_in_float32(backend: str) -> None:
    """A sum of 400 steps, too fine for bfloat16, is exact also under autocast."""
    torch.manual_seed(0)
    arguments = images(1, 20, 20, 16, 1, 1.0)
    half = [arguments[0].bfloat16(), arguments[1].bfloat16(), *arguments[2:]]
    exact = ss2d(*(a.double() for a in half), True, backend="reference")
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            y = ss2d(*half, True, backend=backend)
        assert y.dtype == torch.float32
        torch.testing.assert_close(y.double(), exact, rtol=1e-5, atol=1e-4)
    u = arguments[0][0].permute(2, 0, 1).flatten(1)[None].bfloat16()
    sequence = sequences(1, 16, 400, 1, 1, 1.0)
    assert selective_scan(u, u, *sequence[2:], True, backend=backend).dtype == torch.bfloat16


@every_backend
def test_nan_propagates(backend: str) -> None:
    u = torch.zeros(1, 16, 9)
    u[0, 3, 4] = float("nan")
    delta = torch.zeros(1, 16, 9)
    delta[0, 5, 2] = float("nan")
    one = torch.ones(1, 1, 9)
    y = selective_scan(u, delta, -torch.ones(16, 1), one, one, None, None, True, backend=backend)
    assert torch.isnan(y[0, 3, 4:]).all() and torch.isnan(y[0, 5, 2:]).all()
    assert not torch.isnan(y[0, [0, 7]]).any()


@needs_compiler
def test_threads_do_not_change_the_cpp_scan() -> None:
    torch.manual_seed(0)
    arguments = [a.requires_grad_() for a in images(2, 6, 5, 40, 1, 1.0)]
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            y = ss2d(*arguments, delta_softplus=True, backend="cpp")
            results.append([y, *torch.autograd.grad(y.square().sum(), arguments)])
    finally:
        torch.set_num_threads(1)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_arguments_are_reordered_for_mamba_ssm() -> None:
    """The extension needs a GPU: a function with its signature stands in for it."""
    torch.manual_seed(0)
    u, delta, A, B, C, D, bias = (a.double() for a in images(2, 3, 5, 4, 2, 1.0))
    expected = ss2d(u, delta, A, B, C, D, bias, True, backend="reference")

    def selective_scan_fn(*arguments: Tensor, **options: Tensor) -> Tensor:
        assert arguments[0].shape == (2, 16, 15) and arguments[3].shape == (2, 4, 2, 15)
        return selective_scan(*arguments, **options, backend="reference")

    y = mamba.scan_as_sequences(
        selective_scan_fn, u[None], delta, A, B, C, D, bias, True, (0, 1, 2, 3)
    )
    torch.testing.assert_close(y[0], expected)


def test_automatic_and_forced_choice(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(backends.ENVIRONMENT_VARIABLE, raising=False)
    backends._automatic.cache_clear()
    with caplog.at_level(logging.INFO):
        chosen = backend_for(CPU)
        assert backend_for(CPU) == chosen
    assert chosen == ("torch" if cpp.unavailable("cpu") else "cpp")
    assert [r.message.split(" (")[0] for r in caplog.records if "selective scan" in r.message] == [
        f"selective scan on cpu: {chosen}"
    ]
    monkeypatch.setenv(backends.ENVIRONMENT_VARIABLE, "")
    assert backend_for(CPU) == chosen
    monkeypatch.setenv(backends.ENVIRONMENT_VARIABLE, "doubling")
    with caplog.at_level(logging.INFO):
        assert backend_for(CPU) == "doubling"
    assert "selective scan on cpu: doubling (by SCMPR_SCAN_BACKEND)" in caplog.messages
    with forced_backend("reference"):
        assert backend_for(CPU) == "reference"
        assert backend_for(CPU, "torch") == "torch"
    assert backend_for(CPU) == "doubling"
    monkeypatch.setenv(backends.ENVIRONMENT_VARIABLE, "cuda")
    with pytest.raises(ConfigError, match="unknown scan backend 'cuda'; known: auto, cpp"):
        backend_for(CPU)


def test_an_unavailable_backend_gives_the_reason() -> None:
    arguments = images(1, 2, 2, 3, 1, 1.0)
    for backend in ("mamba_ssm", "triton"):
        with pytest.raises(ConfigError, match=f"{backend} is not available: needs a GPU"):
            ss2d(*arguments, backend=backend)
    assert set(BACKENDS) == {"cpp", "triton", "mamba_ssm", "torch", "doubling", "reference"}


def test_wrong_shapes_are_refused() -> None:
    u, delta, A, B, C, D, _ = sequences(1, 4, 5, 1, 1, 1.0)
    with pytest.raises(ShapeError, match="delta"):
        selective_scan(u, delta[..., 1:], A, B, C)
    with pytest.raises(ShapeError, match="groups"):
        selective_scan(u, delta, A, B.expand(1, 3, 1, 5), C)
    with pytest.raises(ShapeError, match="C: expected"):
        selective_scan(u, delta, A, B, C[..., 1:])
    with pytest.raises(ShapeError, match="D: expected"):
        selective_scan(u, delta, A, B, C, D[1:])
    u, delta, A, B, C, D, _ = images(1, 2, 2, 3, 1, 1.0)
    with pytest.raises(ShapeError, match="delta"):
        ss2d(u, delta[:3], A, B, C, D)
    with pytest.raises(ShapeError, match="A: expected"):
        ss2d(u, delta, A[:, 1:], B, C, D)

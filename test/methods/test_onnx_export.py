"""An ONNX file computes what the network computes, or there is no file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import scmpr_ros
from scmpr_ros.config import from_dict
from scmpr_ros.errors import CheckpointError, ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.methods import export
from scmpr_ros.methods.checkpoint import fingerprint
from scmpr_ros.methods.export import INPUTS, OUTPUTS, QueryBranch, export_onnx
from scmpr_ros.methods.scmpr.network import ScmprConfig, ScmprNetwork
from scmpr_ros.methods.views import QueryView
from scmpr_ros.networks import backbones
from scmpr_ros.networks.backbones import STRIDES, register_backbone
from scmpr_ros.networks.selective_scan import BACKENDS, forced_backend
from scmpr_ros.networks.vmamba import SS2D, VMamba, VMambaVariant
from scmpr_ros.semantics import CLASSES, STATIC_IDS

WITHOUT_EXTRA = 'an export needs the extra: pip install "scmpr_ros[export]"'


def network_with(backbone: str) -> ScmprNetwork:
    torch.manual_seed(0)
    view = AngularGrid(32, 64, 12.0, -15.0, 80.0)
    network = ScmprNetwork(ScmprConfig(backbone=backbone, view=view)).eval()
    # As in a trained network: at first the gate is zero, so that the context has no effect, and the
    # states of the scans are so small that a wrong scan would change no fifth digit.
    nn.init.normal_(network.attention.gate.weight)
    for module in network.modules():
        if isinstance(module, SS2D):
            nn.init.normal_(module.x_proj_weight)
            nn.init.xavier_normal_(module.in_proj.weight)
            nn.init.xavier_normal_(module.out_proj.weight)
    return network


def random_inputs(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    context = functional.normalize(torch.randn(len(STATIC_IDS), 64), dim=1)
    return torch.rand(1, 3, 32, 64), torch.rand(8, 16) < 0.6, context


@pytest.fixture(scope="module")
def small() -> Iterator[ScmprNetwork]:
    """A network with a VMamba of one block a stage, whose last map has a single row."""
    variant = VMambaVariant((1, 1, 1, 1), 16, 1.0, 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "_registered", {})
        register_backbone("small", lambda _: VMamba(variant, 0))
        yield network_with("small")


@pytest.fixture(scope="module")
def exported(small: ScmprNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=WITHOUT_EXTRA)
    path = tmp_path_factory.mktemp("export") / "new" / "small.onnx"
    report = export_onnx(small, path)
    assert report.path == path and report.size_bytes == path.stat().st_size
    assert report.descriptor_error < 1e-5 and report.mask_agreement > 0.99
    assert list(path.parent.iterdir()) == [path], "a temporary file was left behind"
    return path


@torch.no_grad()
def test_onnx_runtime_computes_what_torch_computes(small: ScmprNetwork, exported: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    for seed in range(5):
        inputs = random_inputs(seed)
        view, seen, context = inputs
        expected = small.describe_query(QueryView(view, seen), context)
        assert expected.prediction is not None
        fed = {name: x.numpy() for name, x in zip(INPUTS, inputs, strict=True)}
        descriptor, *prediction = (torch.from_numpy(x) for x in session.run(OUTPUTS, fed))
        torch.testing.assert_close(descriptor, expected.descriptor, rtol=0, atol=2e-6)
        for found, wanted in zip(prediction, expected.prediction, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
        for name, x in zip(INPUTS, random_inputs(seed + 100), strict=True):
            (other,) = session.run(["descriptor"], {**fed, name: x.numpy()})
            assert abs(other - descriptor.numpy()).max() > 1e-3, f"{name} has no effect"


def test_the_file_says_what_it_is(small: ScmprNetwork, exported: Path) -> None:
    import onnx

    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    assert (model.producer_name, model.producer_version) == ("scmpr_ros", scmpr_ros.__version__)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["fingerprint"] == fingerprint(small)
    assert from_dict(ScmprConfig, json.loads(metadata["config"])) == small.config
    assert json.loads(metadata["classes"]) == [c.name for c in CLASSES]
    ends = (*model.graph.input, *model.graph.output)
    sizes = {x.name: [d.dim_value for d in x.type.tensor_type.shape.dim] for x in ends}
    assert sizes == {
        "view": [1, 3, 32, 64], "seen": [8, 16], "context": [len(STATIC_IDS), 64],
        "descriptor": [1, 768], "features": [1, 64, 4, 8], "mask_logits": [1, 15, 8, 16],
        "range_logits": [1, 11, 8, 16],
    }  # fmt: skip
    assert all(name in model.doc_string for name in (*INPUTS, *OUTPUTS))


def test_a_file_that_computes_something_else_gets_no_name(exported: Path, tmp_path: Path) -> None:
    class Deceptive(nn.Module):
        """Pools by the mean, but by the maximum while it is traced: of the right shape."""

        widths = (3, 3, 3, 3)

        def forward_features(self, image: Tensor) -> list[Tensor]:
            traced = torch.compiler.is_compiling()
            pool = functional.max_pool2d if traced else functional.avg_pool2d
            return [pool(image, stride) for stride in STRIDES]

    register_backbone("deceptive", lambda _: Deceptive())
    old = tmp_path / "old.onnx"
    old.write_text("the old one")
    with pytest.raises(CheckpointError, match=r"descriptors differ by up to .*e-0[123],"):
        export_onnx(network_with("deceptive"), old)
    assert list(tmp_path.iterdir()) == [old] and old.read_text() == "the old one"


def test_a_scan_in_a_wrong_order_is_noticed(
    small: ScmprNetwork, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = BACKENDS["doubling"]
    # One order of four walked the wrong way: everything is of the right shape, and looks it.
    monkeypatch.setitem(
        BACKENDS, "doubling", lambda *a: right(*a[:-1], tuple(o if o else 2 for o in a[-1]))
    )
    with (
        forced_backend("doubling"),
        pytest.raises(CheckpointError, match=r"descriptors differ by up to .*e-0[123],"),
    ):
        export._compare(QueryBranch(small).eval(), exported, 1e-5)


@pytest.mark.parametrize("wrong", [2, 3])
def test_masks_and_ranges_are_compared_with_torch_too(
    small: ScmprNetwork, exported: Path, monkeypatch: pytest.MonkeyPatch, wrong: int
) -> None:
    right = QueryBranch.forward

    def rolled(self: QueryBranch, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = list(right(self, *inputs))
        outputs[wrong] = outputs[wrong].roll(1, 1)
        return tuple(outputs)

    monkeypatch.setattr(QueryBranch, "forward", rolled)
    with pytest.raises(CheckpointError, match=r"probabilities by .*e-0[123]"):
        export._compare(QueryBranch(small).eval(), exported, 1e-5)


def test_an_operation_that_onnx_has_not_is_named(exported: Path, tmp_path: Path) -> None:
    class Eigenvalues(nn.Module):
        widths = (3, 3, 3, 3)

        def forward_features(self, image: Tensor) -> list[Tensor]:
            scale = torch.linalg.eigvals(image[0, 0, :4, :4]).real.sum()
            return [functional.avg_pool2d(image * scale, stride) for stride in STRIDES]

    register_backbone("eigenvalues", lambda _: Eigenvalues())
    with pytest.raises(ConfigError, match=r"'scmpr'.*linalg_eig"):
        export_onnx(network_with("eigenvalues"), tmp_path / "eigenvalues.onnx")
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named(
    small: ScmprNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match=r'package onnx .*pip install "scmpr_ros\[export\]"'):
        export_onnx(small, tmp_path / "none.onnx")
    assert not list(tmp_path.iterdir())

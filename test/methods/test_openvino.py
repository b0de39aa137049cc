"""OpenVINO's RGB branch says what torch's says, or is not used."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from scmpr_ros.errors import CheckpointError, ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.methods import openvino as openvino_module
from scmpr_ros.methods.export import example_inputs
from scmpr_ros.methods.network import Query
from scmpr_ros.methods.openvino import OpenVinoEncoder
from scmpr_ros.methods.query_encoder import QueryEncoder
from scmpr_ros.methods.scmpr.network import ScmprConfig, ScmprNetwork
from scmpr_ros.methods.views import QueryView
from scmpr_ros.networks import backbones
from scmpr_ros.networks.backbones import register_backbone
from scmpr_ros.networks.vmamba import SS2D, VMamba, VMambaVariant

CONFIG = ScmprConfig(
    view=AngularGrid(32, 64, 12.0, -15.0, 80.0), panorama=AngularGrid(8, 120, 16.0, -16.0)
)
needs_openvino = pytest.mark.skipif(
    any(importlib.util.find_spec(p) is None for p in ("openvino", "onnxscript", "onnxruntime")),
    reason='OpenVINO is not installed: pip install "scmpr_ros[openvino]"',
)


@pytest.fixture(scope="module")
def network() -> Iterator[ScmprNetwork]:
    """A network with a VMamba of one block a stage: every kind of operation, and few of them."""
    torch.manual_seed(0)
    variant = VMambaVariant((1, 1, 1, 1), 16, 1.0, 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "_registered", {})
        register_backbone("small", lambda _: VMamba(variant, 0))
        network = ScmprNetwork(replace(CONFIG, backbone="small")).eval()
        with torch.no_grad():  # or the scans would hardly show in the descriptor
            for module in network.modules():
                if isinstance(module, SS2D):
                    module.x_proj_weight.mul_(10)
        yield network


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache folder for this file, so that the network is exported once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino_module, "cache_folder", lambda: folder)
        yield folder


@needs_openvino
@pytest.mark.parametrize("precision", ["auto", "bfloat16"])
def test_openvino_computes_what_torch_computes(
    network: ScmprNetwork, precision: str, cache: Path
) -> None:
    for view, seen, context in example_inputs(CONFIG):
        query = QueryView(view, seen)
        exact = QueryEncoder(network, context, torch.device("cpu"), "float32")(query)
        found = OpenVinoEncoder(network, context, precision)(query)
        assert found.prediction is not None and exact.prediction is not None
        if precision == "auto":
            torch.testing.assert_close(found.descriptor, exact.descriptor, rtol=0, atol=1e-5)
            for logits, wanted in zip(found.prediction, exact.prediction, strict=True):
                torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4)
        else:
            assert (found.descriptor * exact.descriptor).sum() > 0.99
            same = found.prediction.mask_logits.argmax(1) == exact.prediction.mask_logits.argmax(1)
            assert same.float().mean() > 0.9
    assert len(list(cache.glob("*.onnx"))) == 1


@needs_openvino
def test_a_wrong_answer_is_noticed_before_the_first_query(
    network: ScmprNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, context = next(example_inputs(CONFIG))
    right = OpenVinoEncoder._infer

    def with_wrong_descriptor(self: OpenVinoEncoder, *inputs: Any) -> Query:
        query = right(self, *inputs)
        return query._replace(descriptor=query.descriptor.roll(1, -1))

    def with_wrong_mask(self: OpenVinoEncoder, *inputs: Any) -> Query:
        query = right(self, *inputs)
        logits = query.prediction.mask_logits.roll(1, -1)
        return query._replace(prediction=query.prediction._replace(mask_logits=logits))

    for half_right in (with_wrong_descriptor, with_wrong_mask):
        monkeypatch.setattr(OpenVinoEncoder, "_infer", half_right)
        with pytest.raises(CheckpointError, match="use the engine torch"):
            OpenVinoEncoder(network, context)


def test_without_openvino_it_says_what_to_install(
    network: ScmprNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "scmpr_ros\[openvino\]"'):
        OpenVinoEncoder(network, torch.zeros(10, 64))

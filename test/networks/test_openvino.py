"""OpenVINO's RGB branch says what torch's says, or is not used."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from scmpr_ros.errors import CheckpointError, ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.networks import openvino as openvino_module
from scmpr_ros.networks.export import example_inputs
from scmpr_ros.networks.inference import QueryEncoder
from scmpr_ros.networks.openvino import OpenVinoEncoder
from scmpr_ros.networks.scmpr import ScmprConfig, ScmprNetwork
from scmpr_ros.networks.vmamba import SS2D

CONFIG = ScmprConfig(
    view=AngularGrid(32, 64, 12.0, -15.0, 80.0), panorama=AngularGrid(8, 120, 16.0, -16.0)
)
needs_openvino = pytest.mark.skipif(
    any(importlib.util.find_spec(p) is None for p in ("openvino", "onnxscript", "onnxruntime")),
    reason='OpenVINO is not installed: pip install "scmpr_ros[openvino]"',
)


@pytest.fixture(scope="module")
def network() -> ScmprNetwork:
    torch.manual_seed(0)
    network = ScmprNetwork(CONFIG).eval()
    with torch.no_grad():  # or the scans would hardly show in the descriptor
        for module in network.modules():
            if isinstance(module, SS2D):
                module.x_proj_weight.mul_(10)
    return network


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
        exact, exact_classes = QueryEncoder(network, context, torch.device("cpu"), "float32")(
            view, seen
        )
        descriptor, classes = OpenVinoEncoder(network, context, precision)(view, seen)
        assert classes.dtype == torch.float32
        if precision == "auto":
            torch.testing.assert_close(descriptor, exact, rtol=0, atol=1e-5)
            torch.testing.assert_close(classes, exact_classes, rtol=0, atol=1e-4)
        else:
            assert descriptor @ exact > 0.99
            assert (classes.argmax(0) == exact_classes.argmax(0)).float().mean() > 0.9
    assert len(list(cache.glob("*.onnx"))) == 1


@needs_openvino
def test_a_wrong_answer_is_noticed_before_the_first_query(
    network: ScmprNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, context = next(example_inputs(CONFIG))
    right = OpenVinoEncoder._infer

    for turned in (0, 1):

        def half_right(self: OpenVinoEncoder, *inputs: object, turned: int = turned) -> list[Any]:
            found = list(right(self, *inputs))
            found[turned] = found[turned].roll(1, -1)
            return found

        monkeypatch.setattr(OpenVinoEncoder, "_infer", half_right)
        with pytest.raises(CheckpointError, match="use the engine torch"):
            OpenVinoEncoder(network, context)


def test_without_openvino_it_says_what_to_install(
    network: ScmprNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "scmpr_ros\[openvino\]"'):
        OpenVinoEncoder(network, torch.zeros(10, 64))

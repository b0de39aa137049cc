"""Official VMamba weights load, and the logits then equal those of the official code.

`official_logits.npz` holds, per release, the 1000 logits that the official code
(github.com/MzeroMiko/VMamba, MIT, commit 2ed52ea, classification/models/vmamba.py) computes for
`recipe_image()` with `recipe_weights` instead of trained weights. It was made on a CPU, in float32
and eval mode, with that code's torch cross scan and `selective_scan_torch`; only the CUDA device
guards around the cross scan were removed. To reproduce it, build `vmamba_{tiny,small,base}_*` (s2l5
and s2l15 are the releases 0230 and 0229, s1l8 and s1l20 those with an `s`), load
`recipe_weights({name: shape of its state_dict})` strictly, and `np.savez` the logits by release.
"""

from __future__ import annotations

import math
import os
import sys
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from scmpr_ros.errors import CheckpointError, ConfigError
from scmpr_ros.networks.official import load_official, load_official_into
from scmpr_ros.networks.vmamba import VMamba, build_vmamba

RELEASES = [
    "tiny_0230", "tiny_0230s",
    *(pytest.param(larger, marks=pytest.mark.slow)
      for larger in ("small_0229", "small_0229s", "base_0229", "base_0229s")),
]  # fmt: skip
State = dict[str, Tensor]


def noise(name: str, *shape: int) -> np.ndarray:
    """Uniform float32 noise of mean 0 and variance 1, seeded by name.

    Made from the raw words of the bit generator, which numpy guarantees never to change.
    """
    count = math.prod(shape)
    words = np.random.PCG64(zlib.crc32(name.encode())).random_raw(count // 2 + 1)
    halves = words.astype("<u8").view("<u4")[:count].astype(np.float32)
    return ((halves / np.float32(2**32) - 0.5) * np.float32(math.sqrt(12))).reshape(shape)


def recipe_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights that are equal on every machine, keep activations in range and exercise all parts."""
    return {name: recipe_weight(name, shape) for name, shape in shapes.items()}


def recipe_weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    values = noise(name, *shape)
    kind = name.rpartition(".")[2]
    if kind == "A_logs":
        return 0.8 * values  # A in -4 ... -0.25
    if kind == "dt_projs_bias":
        return 1.8 * values - 3.5  # steps of 0.001 ... 0.5, after the softplus
    if kind == "Ds" or (kind == "weight" and len(shape) == 1):
        return 1 + 0.3 * values
    if kind == "bias":
        values = 0.2 * values
    else:
        fan_in = shape[-1] if kind.endswith("_weight") else math.prod(shape[1:])
        values = values / np.float32(math.sqrt(fan_in))
    # So small before layer norms that the norms' epsilon affects the logits.
    small = name.startswith(("patch_embed.0.", "patch_embed.5.")) or ".downsample.1." in name
    return np.float32(0.01) * values if small else values


def recipe_image() -> np.ndarray:
    """(1, 3, 72, 88): stages of 18x22, 9x11, 5x6 and 3x3 include odd sizes."""
    return noise("image", 1, 3, 72, 88)


def recipe_state(variant: str, num_classes: int = 1000) -> State:
    with torch.device("meta"):
        shapes = build_vmamba(variant, num_classes).state_dict()
    weights = recipe_weights({name: tuple(value.shape) for name, value in shapes.items()})
    return {name: torch.from_numpy(value) for name, value in weights.items()}


@cache
def nano() -> State:
    """Weights of the smallest variant, for tests of names and shapes."""
    return recipe_state("nano", num_classes=7)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The image is small: threads would mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Callable[[Any], Path]]:
    """Save content as a .pth, deleted after the test: the six releases exceed a gigabyte."""
    path = tmp_path / "vssm.pth"

    def save(content: Any) -> Path:
        torch.save(content, path)
        return path

    yield save
    path.unlink(missing_ok=True)


def assert_holds(network: VMamba, state: State) -> None:
    loaded = network.state_dict()
    assert loaded.keys() == state.keys()
    for name, value in state.items():
        assert torch.equal(loaded[name], value), name


@pytest.mark.parametrize("release", RELEASES)
def test_logits_equal_those_of_the_official_code(
    release: str, write: Callable[[Any], Path]
) -> None:
    expected = official_logits(release)
    assert 1 < float(expected.abs().max()) < 10
    assert difference(write({"model": recipe_state(release)}), expected) < 2e-5


def test_loading_uses_the_weights_of_the_file(write: Callable[[Any], Path]) -> None:
    """One order of one block with another decay in the file gives other logits."""
    state = recipe_state("tiny_0230s")
    decay = state["layers.0.blocks.0.op.A_logs"]
    decay[: len(decay) // 4] = 0
    assert difference(write({"model": state}), official_logits("tiny_0230s")) > 1e-3


def official_logits(release: str) -> Tensor:
    record = np.load(Path(__file__).with_name("official_logits.npz"), allow_pickle=False)
    return torch.from_numpy(record[release])


@torch.inference_mode()
def difference(path: Path, expected: Tensor) -> float:
    """Largest difference of a file's logits from the expected ones, relative to the largest."""
    logits = load_official(path)(torch.from_numpy(recipe_image()))[0]
    return float((logits - expected).abs().max() / expected.abs().max())


def as_before_2024_01_28(state: State) -> State:
    def old(name: str) -> str:
        name = name.replace("patch_embed.0.", "patch_embed.proj.")
        name = name.replace("patch_embed.2.", "patch_embed.norm.")
        name = name.replace(".op.", ".self_attention.").replace("classifier.", "")
        return name.replace(".norm.", ".ln_1.") if name.startswith("layers.") else name

    return {old(name): value for name, value in state.items()}


def as_single_file(state: State) -> State:
    """March 2025: x_proj and dt_projs are grouped linear layers."""
    return {
        name.replace("proj_weight", "proj.weight").replace("projs_weight", "projs.weight"): (
            value.flatten(0, 1) if name.endswith(("proj_weight", "projs_weight")) else value
        )
        for name, value in state.items()
    }


def as_convolutions(state: State) -> State:
    linear = (".in_proj.weight", ".out_proj.weight", ".fc1.weight", ".fc2.weight")
    return {k: v[:, :, None, None] if k.endswith(linear) else v for k, v in state.items()}


@pytest.mark.parametrize("convert", [as_before_2024_01_28, as_single_file, as_convolutions])
def test_all_versions_of_the_official_format_load(
    convert: Callable[[State], State], write: Callable[[Any], Path]
) -> None:
    old = convert(nano())
    assert {k: v.shape for k, v in old.items()} != {k: v.shape for k, v in nano().items()}
    assert_holds(load_official(write({"model": old})), nano())


def test_old_names_are_as_published() -> None:
    assert {
        "patch_embed.proj.weight", "patch_embed.norm.bias", "layers.0.blocks.1.ln_1.weight",
        "layers.0.blocks.1.self_attention.out_norm.weight", "layers.3.blocks.0.norm2.bias",
        "norm.weight", "head.bias",
    } <= as_before_2024_01_28(nano()).keys()  # fmt: skip
    shapes = {k: tuple(v.shape) for k, v in as_single_file(nano()).items()}
    assert shapes["layers.0.blocks.0.op.x_proj.weight"] == (4 * (2 + 2), 32)
    assert shapes["layers.0.blocks.0.op.dt_projs.weight"] == (4 * 32, 2)
    assert shapes["layers.0.blocks.0.op.dt_projs_bias"] == (4, 32)


def test_a_plain_state_dict_loads_from_pth_and_safetensors(
    write: Callable[[Any], Path], tmp_path: Path
) -> None:
    assert_holds(load_official(write(OrderedDict(nano()))), nano())
    save_file(nano(), tmp_path / "vssm.safetensors")
    network = load_official(tmp_path / "vssm.safetensors", "nano")
    assert_holds(network, nano())
    assert not network.training
    half = {name: value.half() for name, value in nano().items()}
    network = load_official(write(half))
    assert_holds(network, {name: value.float() for name, value in half.items()})


class CfgNode(dict[str, Any]):
    """Pickles like yacs' class, under its name; a dict with attributes, like that."""

    def __init__(self, **values: Any) -> None:
        super().__init__(values)
        self.__dict__ |= {
            "__immutable__": True,
            "__deprecated_keys__": set(),
            "__renamed_keys__": {},
        }


CfgNode.__module__ = "yacs.config"


def test_training_checkpoint_holds_two_networks_and_a_config(
    write: Callable[[Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has the structure written by the official `save_checkpoint_ema`."""
    averaged = {name: value + 1 for name, value in nano().items()}
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))])
    with monkeypatch.context() as patch:  # saving imports the class; loading must not
        for name in ("yacs", "yacs.config"):
            patch.setitem(sys.modules, name, ModuleType(name))
        patch.setattr(sys.modules["yacs.config"], "CfgNode", CfgNode, raising=False)
        path = write(
            {
                "model": nano(), "optimizer": optimizer.state_dict(), "max_accuracy": 82.6,
                "lr_scheduler": {"base_values": [1e-3]}, "scaler": {"scale": 65536.0}, "epoch": 264,
                "config": CfgNode(BASE=[""], MODEL=CfgNode(NAME="nano", DEPTHS=[2, 2, 4, 2])),
                "model_ema": OrderedDict(averaged), "max_accuray_ema": None,
            }
        )  # fmt: skip
    assert_holds(load_official(path), nano())
    assert_holds(load_official(path, source="model_ema"), averaged)
    with pytest.raises(CheckpointError, match="'epoch' should map names to tensors, not a int"):
        load_official(path, source="epoch")


def test_a_backbone_without_classifier_loads_the_rest(write: Callable[[Any], Path]) -> None:
    backbone = build_vmamba("nano", num_classes=0)
    load_official_into(backbone, write({"model": as_before_2024_01_28(nano())}))
    features = {k: v for k, v in nano().items() if not k.startswith("classifier.")}
    assert_holds(backbone, features)


def test_misfits_are_listed_and_nothing_is_loaded(write: Callable[[Any], Path]) -> None:
    state = dict(nano())
    del state["layers.2.blocks.3.op.Ds"]
    state["patch_embed.7.bias"] = torch.zeros(31)
    state["outnorm0.weight"] = torch.zeros(32)
    path = write({"model": state})
    network = build_vmamba("nano", num_classes=7)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for load in (lambda: load_official(path), lambda: load_official_into(network, path)):
        with pytest.raises(CheckpointError) as error:
            load()
        assert str(error.value).startswith(f"{path} ('model') does not fit the network: ")
        for part in (
            "1 missing: layers.2.blocks.3.op.Ds", "1 unexpected: outnorm0.weight",
            "1 mis-shaped: patch_embed.7.bias (31,) instead of (32,)", "closest to 'nano'",
        ):  # fmt: skip
            assert part in str(error.value)
    assert_holds(network, before)


def test_a_wrong_variant_is_answered_with_the_closest(write: Callable[[Any], Path]) -> None:
    path = write({"model": nano()})
    with pytest.raises(CheckpointError, match=r"72 missing.*closest to 'nano'"):
        load_official(path, "tiny_0230s")
    with pytest.raises(ConfigError, match="unknown VMamba variant 'huge'"):
        load_official(path, "huge")
    tiny = {k: v for k, v in recipe_state("tiny_0230").items() if ".blocks.4." not in k}
    with pytest.raises(CheckpointError, match=r"18 missing: .*closest to 'tiny_0230'"):
        load_official(write(tiny))


def test_first_generation_is_refused(write: Callable[[Any], Path]) -> None:
    """The first releases begin with one 4x4 convolution and have 16 states."""
    state = as_before_2024_01_28(nano())
    state["patch_embed.proj.weight"] = torch.zeros(32, 3, 4, 4)
    state["layers.0.blocks.0.self_attention.A_logs"] = torch.zeros(128, 16)
    with pytest.raises(CheckpointError, match=r"A_logs \(128, 16\) instead of \(128, 1\)"):
        load_official(write({"model": state}))


def test_absent_source_and_duplicate_names_are_refused(write: Callable[[Any], Path]) -> None:
    path = write({"state_dict": nano(), "meta": {}})
    with pytest.raises(CheckpointError, match="no entry 'model', only 2 entries: 'state_dict', "):
        load_official(path)
    assert_holds(load_official(path, source="state_dict"), nano())
    with pytest.raises(CheckpointError, match=r"no entry 'model_ema', only 204 tensors: 'patch_e"):
        load_official(write(nano()), source="model_ema")
    with pytest.raises(CheckpointError, match="no entry 'model', only a list"):
        load_official(write([1, 2]))
    both = nano() | {"norm.bias": torch.zeros(256)}
    with pytest.raises(CheckpointError, match=r"'norm.bias' is an old name of 'classifier.norm"):
        load_official(write(both))


def test_damaged_and_foreign_files_are_refused(
    write: Callable[[Any], Path], tmp_path: Path
) -> None:
    whole = write({"model": nano()}).read_bytes()
    path = tmp_path / "damaged.pth"
    for content in (whole[: len(whole) // 2], whole[:-10], b"", b"<html>", bytes(1000)):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"damaged.pth: not a complete weight file \("):
            load_official(path)
    path.rename(tmp_path / "damaged.safetensors")
    with pytest.raises(CheckpointError, match=r"not a complete weight file \("):
        load_official(tmp_path / "damaged.safetensors")
    with pytest.raises(CheckpointError, match="no such file"):
        load_official(path)


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_file_is_run(write: Callable[[Any], Path], tmp_path: Path) -> None:
    path = write({"model": nano(), "config": Trap(tmp_path / "sprung")})
    with pytest.raises(CheckpointError, match=r"contains \w+\.mkdir, which cannot be loaded"):
        load_official(path)
    assert not (tmp_path / "sprung").exists()

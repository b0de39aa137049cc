"""Error analysis of a checkpoint: parts, interventions, and ground truth that helps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_runs import TINY, TOWN

from scmpr_ros.cli import diagnose as diagnose_script
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.methods.checkpoint import save_checkpoint
from scmpr_ros.methods.lip_loc.network import LipLocConfig, LipLocNetwork
from scmpr_ros.methods.scmpr.network import ScmprNetwork
from scmpr_ros.training.diagnosis import INTERVENTIONS, DiagnosisConfig, diagnose
from scmpr_ros.training.preparation import find_recordings, load_recording
from scmpr_ros.training.validation import describe_places


@pytest.fixture(scope="module")
def network() -> ScmprNetwork:
    torch.manual_seed(0)
    return ScmprNetwork(TINY).eval()


def test_the_truth_finds_what_an_untrained_network_cannot_read(
    network: ScmprNetwork, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the layouts, which compare shares of classes without having learned anything."""
    weights, out = tmp_path / "untrained.safetensors", tmp_path / "told.json"
    save_checkpoint(network, weights)
    cache = ["--prepared", str(recordings / ".prepared")]
    command = [str(recordings), *cache, "--checkpoint", str(weights), "--out", str(out)]
    assert diagnose_script.main(command) == 0
    rows = {row["intervention"]: row for row in json.loads(out.read_text())}
    assert list(rows) == [intervention.name for intervention in INTERVENTIONS]
    recall = {name: row["recall_at_1"] for name, row in rows.items()}
    assert set(recall["unchanged"]) == {"all", "NetVLAD", "semantic layout", "range layout"}
    true = recall["true masks and depth"]
    assert true["range layout"] > recall["unchanged"]["range layout"]
    assert recall["true masks"]["semantic layout"] == true["semantic layout"]
    assert true["NetVLAD"] == recall["unchanged"]["NetVLAD"]  # it describes what was read
    read = {name: row["cells_correct"] for name, row in rows.items()}
    assert read["true masks and depth"] == {"classes": 1.0, "ranges": 1.0}
    assert read["true depth"]["classes"] == read["unchanged"]["classes"] < 0.5
    assert "range layout" in capsys.readouterr().out


def test_without_depth_head(recordings: Path, tmp_path: Path) -> None:
    """A network without range head reports no ranges, and its JSON holds no NaN."""
    torch.manual_seed(0)
    weights, out = tmp_path / "no_depth.safetensors", tmp_path / "told.json"
    save_checkpoint(ScmprNetwork(replace(TINY, use_depth=False)), weights)
    command = [str(recordings), "--prepared", str(recordings / ".prepared"), "--out", str(out)]
    assert diagnose_script.main([*command, "--checkpoint", str(weights)]) == 0
    assert all(set(row["cells_correct"]) == {"classes"} for row in json.loads(out.read_text()))


def test_the_other_map_is_that_of_another_recording(
    network: ScmprNetwork, recordings: Path
) -> None:
    told: list[torch.Tensor] = []
    hook = network.attention.register_forward_pre_hook(lambda _, inputs: told.append(inputs[1]))
    prepared = recordings / ".prepared"
    rows = diagnose(network, DiagnosisConfig([recordings], prepared, preparation=TOWN))
    hook.remove()
    assert [row["intervention"] for row in rows] == [
        intervention.name for intervention in INTERVENTIONS
    ]
    loaded = [load_recording(s, TINY, TOWN, prepared) for s in find_recordings(recordings)]
    one, two = (describe_places(network, recording)[1] for recording in loaded)
    assert not torch.equal(one, two)
    own, other = [one] * (len(INTERVENTIONS) - 1), [two]
    expected = [*own, *other, *[two] * (len(INTERVENTIONS) - 1), one]
    assert all(torch.equal(a, b) for a, b in zip(told, expected, strict=True))

    alone = diagnose(network, DiagnosisConfig([find_recordings(recordings)[0].folder], prepared))
    assert [row["intervention"] for row in alone] == [
        i.name for i in INTERVENTIONS if not i.other_map
    ]


def test_refusals(network: ScmprNetwork, recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no recording"):
        diagnose(network, DiagnosisConfig([tmp_path]))
    with pytest.raises(ConfigError, match="at least one"):
        DiagnosisConfig([])
    rival = LipLocNetwork(LipLocConfig(tower="resnet18", size=32))
    with pytest.raises(ConfigError, match="lip_loc predicts no masks"):
        diagnose(rival, DiagnosisConfig([recordings], preparation=TOWN))

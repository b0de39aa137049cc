"""Links, commands, launch arguments, parameters and files in the documents are real."""

from __future__ import annotations

import ast
import importlib.util
import logging
import re
import shlex
from pathlib import Path

import pytest
import yaml
from document_checks import (
    DOCUMENTS,
    OTHER_NAMES,
    OTHER_NODES,
    OTHER_OPTIONS,
    REPOSITORY,
    accepts,
    anchors,
    check_command,
    expand_braces,
    fences,
    generator,
    identifiers,
    inline_code,
    is_file_or_module,
    is_setting,
    launch_arguments,
    pages_in_site,
    private_names,
    prose,
    settings,
    shell_commands,
)

from scmpr_ros.config import from_dict
from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.datasets.camera_images import CameraImageConfig
from scmpr_ros.errors import ScmprError
from scmpr_ros.evaluation.suite.config import SuiteConfig
from scmpr_ros.lidar.range_view.description import RangeViewDescription
from scmpr_ros.methods.checkpoint import fingerprint, load_checkpoint
from scmpr_ros.networks.readers.description import ReaderDescription
from scmpr_ros.training.evaluated_runs import RecallTest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

# --- size, links, files --------------------------------------------------------------------------


def test_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 200


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    folder = (REPOSITORY / name).parent
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(name)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, section = link.partition("#")
        target = (folder / path).resolve() if path else REPOSITORY / name
        if not target.exists() and target.is_relative_to(REPOSITORY / "docs"):
            page = target.relative_to(REPOSITORY / "docs").as_posix()
            assert page in pages_in_site(), f"{name} links to {link}, which the site does not have"
            included = REPOSITORY / {"contributing.md": "CONTRIBUTING.md"}.get(page, page)
            if not included.exists():
                continue  # generated: MkDocs checks its anchors
            target = included
        assert target.exists(), f"{name} links to {path}"
        if section:
            assert section in anchors(target.read_text()), f"{name} links to {link}"


def test_every_page_is_in_the_site() -> None:
    on_disk = {
        p.relative_to(REPOSITORY / "docs").as_posix() for p in REPOSITORY.glob("docs/**/*.md")
    }
    assert pages_in_site() == on_disk | set(generator().pages())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_exist(name: str) -> None:
    """Files of the repository that are named in backticks, with or without `scmpr_ros/`."""
    rooms = {p.name for root in (REPOSITORY, REPOSITORY / "scmpr_ros") for p in root.iterdir()}
    for code in inline_code(name) if name != "CHANGELOG.md" else ():
        if "/" not in code or code.split("/")[0] not in rooms - {"out", "data"}:
            continue
        if not re.fullmatch(r"[\w./{},-]+", code):
            continue
        for path in expand_braces(code):
            there = [(root / path).exists() for root in (REPOSITORY, REPOSITORY / "scmpr_ros")]
            assert any(there), f"{name} names {path}"


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "CHANGELOG.md"])
def test_names_exist_in_the_code(name: str) -> None:
    """Classes, `Class.attribute`, functions and fields that are named in backticks."""
    for code in inline_code(name):
        if re.fullmatch(r"([A-Z_]\w+|[a-z]+(_\w+)+)(\.\w+)?(\(.*\))?", code):
            words = set(re.findall(r"\w+", code.partition("(")[0])) - OTHER_NAMES
            assert words <= identifiers(), f"{name}: {words - identifiers()}"


@pytest.mark.parametrize("name", ["lite0_vmamba", "nano"])
def test_model_card_names_the_fingerprint(name: str) -> None:
    weights = REPOSITORY / "models" / f"{name}.safetensors"
    card = weights.with_suffix(".md").read_text()
    assert f"| fingerprint | `{fingerprint(load_checkpoint(weights))[:16]}`" in card


def test_python_examples_import_what_exists() -> None:
    found = 0
    for fence in fences("python"):
        for node in ast.walk(ast.parse(fence.body)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scmpr_ros"):
                module = importlib.import_module(node.module or "")
                for alias in node.names:
                    found += 1
                    assert hasattr(module, alias.name), f"{fence.document}: {node.module}"
    assert found


def test_equations_are_where_the_method_page_says() -> None:
    table = (REPOSITORY / "docs" / "explanation" / "method.md").read_text()
    rows = re.findall(r"^\| (\d+)(?:–(\d+))? \|.*\| ([^|]+) \|$", table, re.MULTILINE)
    seen: set[int] = set()
    for first, last, files in rows:
        seen |= set(range(int(first), int(last or first) + 1))
        sources = [(REPOSITORY / f).read_text() for f in re.findall(r"`([^`]+)`", files)]
        numbers = rf"eq\. (\d+-)?{first}\b|eq\. {first}-"
        assert any(re.search(numbers, source) for source in sources), f"eq. {first} in {files}"
    assert seen == set(range(1, 13))


# --- commands ------------------------------------------------------------------------------------


def test_commands_are_real(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(REPOSITORY)  # for --config config/train.yaml
    failures = []
    for document, words in shell_commands():
        try:
            check_command(words)
        except (AssertionError, SystemExit, ScmprError, KeyError, ValueError) as error:
            message = capsys.readouterr().err.rpartition("error: ")[2] or error
            failures.append(f"{document}: {shlex.join(words)}\n{message}")
    assert not failures, "\n".join(failures)


def test_every_topic_and_service_is_documented() -> None:
    named = inline_code("docs/reference/ros-interface.md")
    assert {name for name in named if re.fullmatch(r"~/\w+", name)} == private_names()


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "CHANGELOG.md"])
def test_settings_exist(name: str) -> None:
    for code in inline_code(name):
        option = re.match(r"--[\w.]+(?=[ =]|$)", code)
        if option and option[0] not in OTHER_OPTIONS:
            group = option[0].removeprefix("--").rstrip(".")
            assert option[0] in settings()[1] or is_setting(group), f"{name}: no option {code}"
        dotted = re.match(r"([a-z_]+(?:\.[a-z_0-9]+)+)(?=: |:=|$)", code)
        if dotted and not is_file_or_module(dotted[1]):
            assert is_setting(dotted[1]), f"{name}: no setting {code}"
        assigned = re.match(r"([a-z_]+):=", code)
        if assigned:
            launch = (launch_arguments(p.name) for p in REPOSITORY.glob("launch/*.launch.py"))
            assert assigned[1] in set().union(*launch) or is_setting(assigned[1]), code


def test_parameter_files_in_the_documents() -> None:
    found = 0
    for fence in fences("yaml"):
        content = yaml.safe_load(fence.body)
        if "topics" in content:
            from_dict(BagReaderConfig, content, source="bag.yaml")
            continue
        if "white_level" in content:
            from_dict(CameraImageConfig, content, source="camera.yaml")
            continue
        if "model" in content:
            from_dict(RangeViewDescription if "channels" in content else ReaderDescription, content)
            continue
        if "recall" in content:
            continue  # a suite, see below
        if "tests" in content:  # of `compare_methods`
            for name, test in content["tests"].items():
                from_dict(RecallTest, test, source=name)
            continue
        for node, section in content.items():
            if node in OTHER_NODES or not isinstance(section, dict):
                continue  # of no node, such as the classes of ids
            leaves = section["ros__parameters"]
            nodes = [node] if node in generator().NODES else list(generator().NODES)
            assert any(accepts(name, leaves) for name in nodes), f"{fence.document}: {leaves}"
            found += 1
    assert found


def test_suites_in_the_documents() -> None:
    contents = [yaml.safe_load(fence.body) for fence in fences("yaml")]
    suites = [from_dict(SuiteConfig, content) for content in contents if "recall" in content]
    assert suites


# --- the site ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_site_builds_without_warnings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("mkdocs", reason='no MkDocs: pip install ".[docs]"')
    pytest.importorskip("mkdocstrings", reason='no mkdocstrings: pip install ".[docs]"')
    from mkdocs.commands.build import build
    from mkdocs.config import load_config
    from mkdocs.exceptions import Abort

    config = load_config(str(REPOSITORY / "mkdocs.yml"), strict=True, site_dir=str(tmp_path))
    with caplog.at_level(logging.WARNING, logger="mkdocs"):
        try:
            build(config)
        except Abort:
            pytest.fail("\n".join(record.getMessage() for record in caplog.records))
    assert (tmp_path / "reference" / "commands" / "train.html").is_file()

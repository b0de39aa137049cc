"""Measure the entries of a suite; what lacks its data is skipped, and the rest goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tqdm import tqdm

from scmpr_ros import __version__
from scmpr_ros.config import flatten, to_dict
from scmpr_ros.errors import ConfigError, ScmprError
from scmpr_ros.evaluation.evaluate import EvaluationConfig
from scmpr_ros.evaluation.suite.config import SuiteConfig
from scmpr_ros.evaluation.suite.entry import Entry, Numbers
from scmpr_ros.evaluation.suite.workbench import Workbench
from scmpr_ros.methods.checkpoint import fingerprint
from scmpr_ros.methods.network import PlaceNetwork
from scmpr_ros.resources import source_commit

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EntryResult:
    """What became of an entry: numbers, or why there are none.

    missing: the first path that is not there. error: why the data cannot be used. wall_s: seconds;
    of entries that share a map, the first one builds it.
    """

    kind: str
    entry: Entry
    wall_s: float = 0.0
    numbers: Numbers = field(default_factory=dict)
    missing: str = ""
    error: str = ""

    @property
    def note(self) -> str:
        """Why there are no numbers; empty if there are."""
        return self.error or (f"skipped: no {self.missing}" if self.missing else "")


@dataclass(frozen=True)
class SuiteReport:
    """All results of a suite, and what they depend on."""

    provenance: dict[str, Any]
    results: tuple[EntryResult, ...]

    def of_kind(self, kind: str) -> list[EntryResult]:
        """Results of one kind, in order."""
        return [result for result in self.results if result.kind == kind]

    @property
    def kinds(self) -> list[str]:
        """Kinds that occur, in order."""
        return list(dict.fromkeys(result.kind for result in self.results))


def run_suite(
    suite: SuiteConfig, network: PlaceNetwork, config: EvaluationConfig | None = None,
    patterns: Sequence[str] = (),
) -> SuiteReport:  # fmt: skip
    """Measure the entries whose name or kind matches a pattern, or all.

    config: the shipped settings by default; others are named in the report.

    Raises ConfigError if no entry matches, and for settings that only entries can have.
    """
    config = config or EvaluationConfig()
    _check_settings(config)
    chosen = list(suite.entries(patterns))
    if not chosen:
        names = ", ".join(entry.name for _, entry in suite.entries())
        raise ConfigError(f"no entry matches {' '.join(patterns)}; there are {names}")
    bench = Workbench(network.eval(), config, suite.data, suite.town)
    results = []
    with tqdm(chosen, "suite", unit="entry") as progress:
        for kind, entry in progress:
            progress.set_postfix_str(f"{kind} {entry.name}")
            results.append(_measure(kind, entry, bench))
    return SuiteReport(_provenance(suite, network, config), tuple(results))


def _measure(kind: str, entry: Entry, bench: Workbench) -> EntryResult:
    missing = entry.missing(bench)
    if missing:
        return EntryResult(kind, entry, missing=missing)
    began_s = time.perf_counter()
    try:
        numbers = entry.measure(bench)
    except ScmprError as error:
        _log.error("%s %s: %s", kind, entry.name, error)
        return EntryResult(kind, entry, time.perf_counter() - began_s, error=str(error))
    return EntryResult(kind, entry, time.perf_counter() - began_s, numbers)


def _check_settings(config: EvaluationConfig) -> None:
    default = EvaluationConfig()
    for name in ("mount", "segmenters"):
        if getattr(config, name) != getattr(default, name):
            raise ConfigError(f"settings.{name} is not for suites: entries say what they need")
    if config.source.sequence:
        raise ConfigError("settings.source.sequence is not for suites: name it in the entry")


def _provenance(
    suite: SuiteConfig, network: PlaceNetwork, config: EvaluationConfig
) -> dict[str, Any]:
    shipped, given = flatten(EvaluationConfig()), flatten(config)
    return {
        "scmpr_ros": __version__,
        "commit": source_commit(),
        "method": network.method,
        "fingerprint": fingerprint(network),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "data": str(suite.data),
        "changed_settings": {name: given[name] for name in given if given[name] != shipped[name]},
        "settings": to_dict(config),
    }

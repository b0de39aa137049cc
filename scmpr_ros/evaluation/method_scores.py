"""What several methods, with several seeds each, scored on the same queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.intervals import difference_interval, recall_interval
from scmpr_ros.evaluation.metrics import one_percent
from scmpr_ros.evaluation.result import Provenance, Result, Rules, common_rules


class Recall(NamedTuple):
    """Shares in [0, 1].

    interval: 95 %, over streets and seeds. deviation: of the seeds, None for a single one.
    """

    value: float
    interval: tuple[float, float]
    deviation: float | None


@dataclass(frozen=True)
class MethodScores:
    """Ranks of a method's first correct answers, for N queries.

    rank: (seeds, N) from 1; infinite if no candidate is correct. xy_m: (N, 2) true positions.
    frame, condition: (N,) of each query. percent: (N,) the K of Recall@1 %, None where fewer
        candidates were kept. chance: of Recall@1. places: of all maps together.
    rules: which answers are correct.
    """

    rank: NDArray[np.float64]
    xy_m: NDArray[np.float64]
    frame: NDArray[np.str_]
    condition: NDArray[np.str_]
    percent: NDArray[np.int64] | None
    chance: float
    places: int
    rules: Rules

    @classmethod
    def of(cls, seeds: Sequence[Sequence[Result]]) -> MethodScores:
        """Of the drives of each seed; DatasetError unless seeds share queries, and all rules."""
        first = [result.scores for result in seeds[0]]
        names = [result.provenance for result in seeds[0]]
        counts = [score.num_queries for score in first]
        xy_m = np.concatenate([np.reshape(score.query_xy_m, (-1, 2)) for score in first])
        ranks = []
        for results in seeds:
            positions = [xy for result in results for xy in result.scores.query_xy_m]
            if not np.array_equal(np.reshape(positions, (-1, 2)), xy_m):
                raise DatasetError("the seeds of a method did not answer the same queries")
            found = [rank for result in results for rank in result.scores.first_right_rank]
            ranks.append([np.inf if rank is None else rank for rank in found])
        known = all(score.recall_at_1_percent is not None for score in first)
        percent = np.repeat([one_percent(score.num_places) for score in first], counts)
        maps = {_map_of(n): score.num_places for n, score in zip(names, first, strict=True)}
        return cls(
            np.array(ranks, np.float64), xy_m, np.repeat([name.frame for name in names], counts),
            np.repeat([name.condition for name in names], counts), percent if known else None,
            float(np.average([score.chance for score in first], weights=counts)),
            sum(maps.values()), common_rules([result for seed in seeds for result in seed]),
        )  # fmt: skip

    def recall(
        self, k: int | NDArray[np.int64] = 1, chosen: NDArray[np.bool_] | slice = slice(None)
    ) -> Recall:
        """Recall@k over chosen queries, all by default: mean of the seeds."""
        hits = (self.rank <= k)[:, chosen]
        interval = recall_interval(hits, self.xy_m[chosen], self.frame[chosen])
        return Recall(float(hits.mean()), interval, _deviation(hits))

    def gain_over(self, other: MethodScores) -> Recall:
        """Recall@1 more than another method's, seed by seed.

        Raises DatasetError unless both answered the same queries, judged by the same rules, with as
        many seeds.
        """
        same = np.array_equal(self.xy_m, other.xy_m) and self.rank.shape == other.rank.shape
        if not same or self.rules != other.rules:
            raise DatasetError(
                "two methods did not answer the same queries by the same rules with as many seeds: "
                "no fair difference"
            )
        gain = (self.rank <= 1) * 1.0 - (other.rank <= 1)
        interval = difference_interval(gain, self.xy_m, self.frame)
        return Recall(float(gain.mean()), interval, _deviation(gain))


def _deviation(values: NDArray[Any]) -> float | None:
    """Of the means of seeds, of values (S, N)."""
    return float(values.mean(axis=1).std(ddof=1)) if len(values) > 1 else None


def _map_of(name: Provenance) -> tuple[str, ...]:
    """What was searched: the map of a frame, or the scans of a drive."""
    return (name.frame,) if name.database == "map" else (name.recording, name.drive)


ScoresByTest = Mapping[str, Mapping[str, MethodScores]]
"""By test and method."""

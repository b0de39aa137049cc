"""What several methods, with several seeds each, scored on the same queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.intervals import difference_interval, recall_interval
from scmpr_ros.evaluation.metrics import one_percent
from scmpr_ros.evaluation.result import Result


class Recall(NamedTuple):
    """Shares in [0, 1]. interval: 95 %. deviation: of the seeds, None for a single one."""

    value: float
    interval: tuple[float, float]
    deviation: float | None


@dataclass(frozen=True)
class MethodScores:
    """Ranks of a method's first correct answers, for N queries.

    rank: (seeds, N) from 1; infinite if no candidate is correct. xy_m: (N, 2) true positions.
    recording, condition: (N,) of each query. percent: (N,) the K of Recall@1 %.
    chance: of Recall@1. places: of all maps together.
    """

    rank: NDArray[np.float64]
    xy_m: NDArray[np.float64]
    recording: NDArray[np.str_]
    condition: NDArray[np.str_]
    percent: NDArray[np.int64]
    chance: float
    places: int

    @classmethod
    def of(cls, seeds: Sequence[Sequence[Result]]) -> MethodScores:
        """Of the drives of each seed; DatasetError unless all seeds have the same queries."""
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
        maps = {(n.recording, n.database): s.num_places for n, s in zip(names, first, strict=True)}
        return cls(
            np.array(ranks, np.float64), xy_m,
            np.repeat([name.recording for name in names], counts),
            np.repeat([name.condition for name in names], counts),
            np.repeat([one_percent(score.num_places) for score in first], counts),
            float(np.average([score.chance for score in first], weights=counts)),
            sum(maps.values()),
        )  # fmt: skip

    def hits(self, k: int | NDArray[np.int64]) -> NDArray[np.float64]:
        """How often, over the seeds, each query (N,) has a correct answer among the first k."""
        return np.asarray((self.rank <= k).mean(axis=0))

    def recall(
        self, k: int | NDArray[np.int64] = 1, chosen: NDArray[np.bool_] | slice = slice(None)
    ) -> Recall:
        """Recall@k over chosen queries, all by default."""
        hits = self.hits(k)[chosen]
        by_seed = (self.rank <= k)[:, chosen].mean(axis=1)
        return Recall(
            float(hits.mean()),
            recall_interval(hits, self.xy_m[chosen], self.recording[chosen]),
            float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None,
        )

    def gain_over(self, other: MethodScores) -> Recall:
        """Recall@1 more than another method's on the same queries; DatasetError for others."""
        if not np.array_equal(self.xy_m, other.xy_m):
            raise DatasetError("two methods did not answer the same queries: no fair difference")
        gain = self.hits(1) - other.hits(1)
        return Recall(
            float(gain.mean()), difference_interval(gain, self.xy_m, self.recording), None
        )


Scores = Mapping[str, Mapping[str, MethodScores]]
"""By test and method."""

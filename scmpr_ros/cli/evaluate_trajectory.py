"""The part of `evaluate` that tracks drives, see `evaluation.tracking`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from jsonargparse import ArgumentParser, Namespace
from rich import box
from rich.console import Console
from rich.table import Table

from scmpr_ros.atomic_files import write_json
from scmpr_ros.datasets.simulated_odometry import OdometryNoise
from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.evaluate import EvaluationConfig, MappedRecording, PlacePositions
from scmpr_ros.evaluation.rerun_recording import RerunRecording, require_rerun
from scmpr_ros.evaluation.tracking.recordings import (
    DriveTrials,
    check_drive,
    chosen_drives,
    numbers_of,
    report,
    try_drives,
)
from scmpr_ros.evaluation.tracking.trials import TrackingTrials
from scmpr_ros.evaluation.trajectory import NEAR
from scmpr_ros.evaluation.trajectory_picture import draw_trajectory
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.resources import DEFAULT_CHECKPOINT, resource

_DESCRIPTION = """\
--trajectory drives along the images of each drive as a robot would: the tracker starts with nothing
known, follows the drive by odometry, and says whether it is LOCALIZED. All is compared with the
answers to single images. The table shows how often it is LOCALIZED, and how often rightly; --out
takes a folder for trajectory.json, with all numbers and rules, and a picture of each drive."""

_DRIVES_ABREAST = 4
_OTHERS = ("table", "score", "descriptors", "answers", "predictions", "protocol", "code_faithful",
           "suite")  # fmt: skip


def add_trajectory_arguments(parser: ArgumentParser) -> None:
    """Add the options of trajectories."""
    group = parser.add_argument_group("trajectories", _DESCRIPTION)
    group.add_argument("--trajectory", action="store_true",
                       help="track the drives; --sequences picks some of them")  # fmt: skip
    group.add_argument("--places", choices=get_args(PlacePositions),
                       help="where the map's places are: all over the open ground, as a robot "
                       "needs them (grid, the default), or along the path that was mapped, which "
                       "is easier (path)")  # fmt: skip
    group.add_argument("--starts", type=int, metavar="N",
                       help="wake-up test: N starts a drive at random images; how soon is it "
                       "LOCALIZED, and is that right?")  # fmt: skip
    group.add_argument("--kidnaps", type=int, metavar="N",
                       help="kidnapping test: N jumps a drive to elsewhere, which odometry misses; "
                       "how soon is the right pose found again?")  # fmt: skip
    group.add_argument("--no-odometry", action="store_true",
                       help="track without odometry, as with a camera in the hand; else "
                       "odometry is made from the true poses, see --odometry")  # fmt: skip
    parser.add_class_arguments(OdometryNoise, "odometry")
    parser.add_class_arguments(TrackingTrials, "trials", skip={"odometry", "starts", "kidnaps"})


def check_trajectory_arguments(options: Namespace) -> None:
    """Raise ConfigError for options of trajectories without --trajectory, or that it excludes."""
    if not options.trajectory:
        given = [name for name in ("places", "starts", "kidnaps") if options[name] is not None]
        given += ["no-odometry"] if options.no_odometry else []
        if given:
            raise ConfigError(f"--{given[0]} is for --trajectory, which is not given")
        return
    excluded = [name for name in _OTHERS if options[name]]
    if excluded:
        raise ConfigError(f"--trajectory goes without --{excluded[0]}: it searches the map of the "
                          "recording and scores by rules of its own")  # fmt: skip
    if not options.recordings:
        raise ConfigError("--trajectory needs recordings: name their folders")
    if options.out and options.out.is_file():
        raise ConfigError(f"--out {options.out} is a file: with --trajectory it names a folder")


def evaluate_trajectories(options: Namespace) -> None:
    """Track the drives of recordings, print their numbers and write them.

    Raises DatasetError before any work if a drive cannot be tracked.
    """
    config: EvaluationConfig = options.settings
    places: PlacePositions = options.places or "grid"
    trials = replace(
        options.trials, starts=options.starts or 0, kidnaps=options.kidnaps or 0,
        odometry=None if options.no_odometry else options.odometry,
    )  # fmt: skip
    _check_drives(options, config, trials)
    checkpoint = options.checkpoint or resource(DEFAULT_CHECKPOINT)
    results = list(_results(options, config, trials, places, checkpoint))
    console = Console()
    for table in _tables(results, trials):
        console.print(table)
    if options.out:
        write_json(
            options.out / "trajectory.json",
            report(results, config, trials, places, checkpoint.name),
        )
        console.print(f"written to {options.out}: trajectory.json, and a picture of each drive")


def _check_drives(options: Namespace, config: EvaluationConfig, trials: TrackingTrials) -> None:
    drives = [
        drive
        for folder in options.recordings
        for drive in chosen_drives(folder, config, options.sequences)
    ]
    for drive in drives:
        check_drive(drive, trials)
    if options.rerun:
        require_rerun()
        if len(drives) != 1:
            names = ", ".join(drive.name for drive in drives)
            raise ConfigError(f"--rerun shows one drive, not {names}: choose with --sequences")


def _results(
    options: Namespace, config: EvaluationConfig, trials: TrackingTrials, places: PlacePositions,
    checkpoint: Path,
) -> Iterator[DriveTrials]:  # fmt: skip
    """Track drive after drive, and draw each as soon as it is tracked."""
    network = load_checkpoint(checkpoint)
    with ExitStack() as stack:
        recorded = stack.enter_context(RerunRecording(options.rerun)) if options.rerun else None
        for folder in options.recordings:
            mapped = MappedRecording.of(folder, network, config, places)
            for result in try_drives(folder, mapped, config, trials, options.sequences, recorded):
                if options.out:
                    path = options.out / f"{result.name.replace('/', '_')}.png"
                    draw_trajectory(result.tracked, mapped.localizer.place_map.positions, path,
                                    mapped.point_map.cloud, f"Drive {result.name}")  # fmt: skip
                yield result


# --- the table -------------------------------------------------------------------------------

_Row = tuple[str, Callable[[dict[str, Any]], Any], str]


def _tables(results: Sequence[DriveTrials], trials: TrackingTrials) -> Iterator[Table]:
    """Tables with a drive in each column, which fit into 80 characters."""
    columns = [(each.name, numbers_of([each], trials)) for each in results]
    if len(results) > 1:
        columns.append(("together", numbers_of(results, trials)))
    for first in range(0, len(columns), _DRIVES_ABREAST):
        yield _table(columns[first : first + _DRIVES_ABREAST], trials)


def _table(columns: Sequence[tuple[str, dict[str, Any]]], trials: TrackingTrials) -> Table:
    odometry = "no odometry" if trials.odometry is None else "odometry that drifts"
    title = (
        f"Right within {NEAR.radius_m:g} m and {NEAR.angle_deg:g} deg, from "
        f"{trials.settling_s:g} s on, {odometry}"
    )
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name, _ in columns:
        table.add_column(name, justify="right", overflow="fold")
    for label, value, form in _rows(trials):
        cells = (value(numbers) for _, numbers in columns)
        table.add_row(label, *("" if cell is None else form.format(cell) for cell in cells))
    return table


def _rows(trials: TrackingTrials) -> list[_Row]:
    """Label, number and format of each row."""

    def plain(name: str) -> Callable[[dict[str, Any]], Any]:
        return lambda numbers: numbers[name]

    def of(test: str, name: str, item: int | None = None) -> Callable[[dict[str, Any]], Any]:
        def value(numbers: dict[str, Any]) -> Any:
            found = numbers[test][name]
            return found if item is None or found is None else found[item]

        return value

    rows: list[_Row] = [
        ("images", plain("num_images"), "{}"),
        ("LOCALIZED", plain("localized"), "{:.1%}"),
        ("right when LOCALIZED", plain("right_when_localized"), "{:.1%}"),
        ("LOCALIZED and wrong", plain("wrong_localized"), "{:.1%}"),
        ("right", plain("right"), "{:.1%}"),
        ("  95 %", plain("right_interval"), "{0[0]:.0%}-{0[1]:.0%}"),
        ("right, single images", plain("single_right"), "{:.1%}"),
        ("median error, m", plain("median_position_error_m"), "{:.2f}"),
        ("median error, deg", plain("median_heading_error_deg"), "{:.2f}"),
        ("ECE, tracked", plain("tracked_calibration_error"), "{:.2f}"),
        ("ECE, single images", plain("single_calibration_error"), "{:.2f}"),
        ("NEES in 95 % band", plain("nees_in_band"), "{:.0%}"),
        ("NEES, mean (3)", plain("nees_mean"), "{:.1f}"),
    ]
    if trials.starts:
        rows += [
            ("wake-up: starts", of("wake_up", "starts"), "{}"),
            ("  became LOCALIZED", of("wake_up", "localized"), "{:.1%}"),
            ("  false locks", of("wake_up", "false_locks"), "{:.1%}"),
            ("  median, s", of("wake_up", "time_s_median_95", 0), "{:.1f}"),
            ("  95 % within, s", of("wake_up", "time_s_median_95", 1), "{:.1f}"),
            ("  median, m", of("wake_up", "distance_m_median_95", 0), "{:.0f}"),
            ("  95 % within, m", of("wake_up", "distance_m_median_95", 1), "{:.0f}"),
        ]
    if trials.kidnaps:
        rows += [
            ("kidnap: jumps", of("kidnap", "trials"), "{}"),
            ("  left within 5 s", of("kidnap", "left_within_5_s"), "{:.1%}"),
            ("  right within 20 s", of("kidnap", "right_within_20_s"), "{:.1%}"),
            ("  right at the end", of("kidnap", "ended_right"), "{:.1%}"),
            ("  right again, median, s", of("kidnap", "right_s_median_95", 0), "{:.1f}"),
        ]
    return rows

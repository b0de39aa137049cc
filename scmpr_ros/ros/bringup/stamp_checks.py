"""Findings about the stamps of messages with a header."""

from __future__ import annotations

import numpy as np

from scmpr_ros.ros.bringup.findings import Finding, Report
from scmpr_ros.ros.bringup.streams import Stream

_OLD_S, _TOO_OLD_S, _EARLY_S = 0.5, 2.0, 0.05
_OTHER_CLOCK_S = 86_400.0


def check_stamps(stream: Stream, use_sim_time: bool, has_clock: bool) -> list[Finding]:
    """Check the stamps of a stream against each other and the clock.

    has_clock: whether somebody publishes /clock.
    """
    report = Report("stamps")
    stamps_ns = stream.stamps_ns
    if use_sim_time and not has_clock:
        report.error("use_sim_time is set, but nobody publishes /clock, so time stands still: "
                     "play the bag with --clock, or set use_sim_time to false")  # fmt: skip
    if len(stamps_ns) == 0:
        return report.findings
    if (stamps_ns == 0).any():
        report.error(f"stamps of {stream.topic} are zero: poses cannot be paired with odometry or "
                     "TF; let the driver stamp its images")  # fmt: skip
        return report.findings
    _check_order(report, stream)
    if not (use_sim_time and not has_clock):
        _check_age(report, stream, use_sim_time, has_clock)
    return report.findings


def _check_order(report: Report, stream: Stream) -> None:
    gaps_ns = np.diff(stream.stamps_ns)
    back, same = int((gaps_ns < 0).sum()), int((gaps_ns == 0).sum())
    if back:
        report.warn(
            f"stamps of {stream.topic} go back {back} times, by up to "
            f"{-gaps_ns.min() / 1e9:.2f} s: does a bag loop, or do two nodes publish?"
        )
    if same:
        report.warn(f"{same} images of {stream.topic} have the stamp of the one before and are "
                    "ignored: let the driver stamp each")  # fmt: skip


def _check_age(report: Report, stream: Stream, use_sim_time: bool, has_clock: bool) -> None:
    ages_s = np.array([(a.now_ns - a.stamp_ns) / 1e9 for a in stream.arrivals])
    age_s = float(np.median(ages_s))
    text = f"images of {stream.topic} arrive {age_s:.2f} s after their stamps"
    if abs(age_s) > _OTHER_CLOCK_S:
        advice = (
            "set use_sim_time:=true, here and for the localizer"
            if has_clock and not use_sim_time
            else "play the bag with --clock (play_bag: clock_hz) and set use_sim_time:=true, or "
            "synchronise the clocks"
        )
        days, side = abs(age_s) / 86_400, "behind" if age_s > 0 else "ahead of"
        report.error(f"stamps of {stream.topic} are {days:.0f} days {side} the clock, as in a "
                     f"recording: {advice}")  # fmt: skip
    elif age_s > _TOO_OLD_S:
        report.error(f"{text}: synchronise the machines' clocks (chrony), or shorten the queues "
                     "on the way; TF of that time may be gone")  # fmt: skip
    elif age_s > _OLD_S:
        report.warn(f"{text}: poses will be as late; are clocks synchronised (chrony)?")
    elif age_s < -_EARLY_S:
        report.warn(f"stamps of {stream.topic} are {-age_s:.2f} s in the future: synchronise the "
                    "machines' clocks (chrony)")  # fmt: skip
    else:
        report.ok(text)

"""Findings of the bring-up checker: one line each, with what was found and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """How bad a finding is; an ERROR keeps the localizer from working."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    subject: what was looked at, such as `image` or `tf`.
    text: what was found and, unless it is fine, what to do about it.
    """

    level: Level
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.level.name:<6} {self.subject:<12} {self.text}"


class Report:
    """Collects the findings about one subject."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.findings: list[Finding] = []

    def ok(self, text: str) -> None:
        """Note that something is as it should be."""
        self.findings.append(Finding(Level.OK, self.subject, text))

    def warn(self, text: str) -> None:
        """Note what costs accuracy or surprises later."""
        self.findings.append(Finding(Level.WARN, self.subject, text))

    def error(self, text: str) -> None:
        """Note what keeps the localizer from working."""
        self.findings.append(Finding(Level.ERROR, self.subject, text))


def summary(findings: Iterable[Finding]) -> str:
    """The last line of the report."""
    levels = [finding.level for finding in findings]
    errors, warnings = levels.count(Level.ERROR), levels.count(Level.WARN)
    if not errors and not warnings:
        return "nothing to complain about"
    return f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

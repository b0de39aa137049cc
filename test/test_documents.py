"""What the documents point to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "models/nano.md")


def anchor(heading: str) -> str:
    """The name that a heading has in links."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(repository: Path, name: str) -> None:
    text = (repository / name).read_text()
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    headings = {anchor(line.lstrip("#")) for line in prose.splitlines() if line.startswith("#")}
    links = re.findall(r"\]\(([^)\s]+)\)", prose)
    local = [link for link in links if not link.startswith(("http://", "https://"))]
    for link in local:
        path, _, section = link.partition("#")
        if path:
            assert (repository / name).parent.joinpath(path).exists(), f"{name} links to {path}"
        else:
            assert section in headings, f"{name} links to its section {section}"

"""The receipt of a reproduction: what it says is what the files hold."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from published import RUN, put, straight

from aevb import paths
from aevb.comparison import receipt
from aevb.results import curves
from aevb.results.curves import Curve

MAKER = {"versions": {"torch": "2"}, "precision": "float32", "hardware": {"device": "cpu"}}


def entry(content: dict[str, Any]) -> dict[str, Any]:
    assert len(content["manifest"]) == 1
    return dict(content["manifest"][0])


def both(project: Path, shift: float) -> Curve:
    put(paths.published(), RUN, straight(10**7), **MAKER)
    return put(paths.local(), RUN, straight(10**6, shift), **MAKER)


def test_an_equal_run_is_as_published(project: Path) -> None:
    mine = both(project, 0.0)
    found = entry(receipt.receipt("1e6"))
    assert found["verdict"] == receipt.REPRODUCED
    assert found["largest_difference"] == 0
    assert found["sha256"] == sha256(mine.path.read_bytes()).hexdigest()
    assert found["samples"] == 10**6
    assert found["file"] == "results/local/curves/figure2/mnist-nz20-aevb-seed0.csv"


def test_a_run_that_is_off_is_not_as_published(project: Path) -> None:
    both(project, 5.0)
    content = receipt.receipt("1e6")
    assert entry(content)["verdict"] == receipt.DIFFERS
    assert entry(content)["largest_difference"] == 5
    assert content["summary"] == (
        "1 runs: 0 as published, 1 not as published, 0 nothing published to compare with"
    )


def test_a_run_without_a_published_one_is_beside_the_papers(project: Path) -> None:
    mine = put(paths.local(), RUN, straight(10**6))
    found = entry(receipt.receipt("1e6"))
    assert found["verdict"] == receipt.UNKNOWN
    assert found["largest_difference"] is None
    paper = curves.paper_figure("figure2")
    assert set(found["from_the_paper"]) == {"train", "validation", "test"}
    assert len(mine.table) < len(paper)


def test_both_files_say_the_same_and_escape_html(project: Path) -> None:
    both(project, 0.0)
    page, data = receipt.write("1e6")
    content = json.loads(data.read_text())
    assert content["summary"] in page.read_text()
    content["machine"]["hardware"]["name"] = "<script>"
    assert "<script>" not in receipt.as_markdown(content)


def test_nothing_trained_makes_an_empty_receipt(project: Path) -> None:
    content = receipt.receipt("1e6")
    assert content["manifest"] == []
    assert "0 runs" in receipt.as_markdown(content)

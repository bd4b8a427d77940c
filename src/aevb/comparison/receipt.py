"""A receipt of a reproduction: what ran here, and how near it came, after a CODECHECK certificate.

`make reproduce` ends with it: `results/local/receipt.md` for people, `receipt.json` for programs.
"""

import json
import math
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from aevb import paths
from aevb.comparison import same_seed, tables
from aevb.comparison.wording import nats
from aevb.files import atomic
from aevb.markdown import plain, table
from aevb.results import curves, provenance
from aevb.training import experiments

PAPER = {
    "title": "Auto-Encoding Variational Bayes",
    "authors": ["Diederik P. Kingma", "Max Welling"],
    "reference": "https://doi.org/10.48550/arXiv.1312.6114",
}
REPRODUCED, DIFFERS = "as published", "not as published"
UNKNOWN = "nothing published to compare with"


def receipt(budget: str | float, seed: int = 0) -> dict[str, Any]:
    """What the runs of this machine came to.

    Returns:
        `paper`, `machine`, `check_time`, `budget`, `seed`, a `summary` in a sentence, and in
        `manifest` an entry for each run: its `file`, `sha256` and `samples`, the `verdict`, the
        `largest_difference` from the published run of the same seed over every check, in nats,
        with what is `allowed`; and `from_the_paper`, ours minus the paper's by split.
    """
    checks = same_seed.checks(seed)
    from_paper = {figure: tables.differences(figure, budget, seed) for figure in experiments.RUNS}
    entries = []
    for figure, runs in experiments.RUNS.items():
        for run in runs(seed):
            curve = curves.find(run.study, run.name, paths.local())
            if curve is None:
                continue
            mine = checks[(checks.run == run.name) & (checks.other_settings == "")]
            mine = mine.dropna(subset=["largest_difference"])
            beside = from_paper[figure]
            beside = beside[(beside.run == run.name) & beside.difference.notna()]
            entries.append(
                {
                    "file": curve.path.relative_to(paths.root()).as_posix(),
                    "sha256": sha256(curve.path.read_bytes()).hexdigest(),
                    "samples": curve.samples,
                    "verdict": _verdict(mine),
                    "largest_difference": _finite(mine.largest_difference.max()),
                    "allowed": _finite(mine.tolerance.max()),
                    "from_the_paper": {
                        row.split: round(float(row.difference), 2) for _, row in beside.iterrows()
                    },
                }
            )
    verdicts = [entry["verdict"] for entry in entries]
    return {
        "paper": PAPER,
        "machine": provenance.maker(torch.device("cpu")),
        "check_time": datetime.now(UTC).isoformat(timespec="seconds"),
        "budget": budget,
        "seed": seed,
        "summary": f"{len(entries)} runs: "
        + ", ".join(f"{verdicts.count(v)} {v}" for v in (REPRODUCED, DIFFERS, UNKNOWN)),
        "manifest": entries,
    }


def _verdict(checks: Any) -> str:
    if checks.empty:
        return UNKNOWN
    return REPRODUCED if (checks.largest_difference <= checks.tolerance).all() else DIFFERS


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def as_markdown(content: dict[str, Any]) -> str:
    """A receipt as a page."""
    machine, hardware = content["machine"], content["machine"]["hardware"]
    rows = [
        {
            "run": Path(entry["file"]).stem,
            "samples": f"{entry['samples']:,}",
            "verdict": entry["verdict"],
            "from the published run": "–"
            if entry["largest_difference"] is None
            else f"{entry['largest_difference']:.4f} nats, {entry['allowed']:g} allowed",
            "from the paper": ", ".join(
                f"{split} {nats(value, '+')}" for split, value in entry["from_the_paper"].items()
            )
            or "–",
        }
        for entry in content["manifest"]
    ]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return "\n".join(
        [
            f"# Receipt: {content['paper']['title']}",
            "",
            f"{content['summary']}.",
            "",
            f"- Made {content['check_time']} by `make reproduce`, budget {content['budget']}, seed "
            f"{content['seed']}.",
            f"- Processor: {plain(hardware['name'])}, {plain(hardware['instructions'])}.",
            f"- Versions: {plain(versions)}.",
            f"- Commit: {machine['commit'] or 'unknown'}.",
            "",
            *([table(rows)] if rows else []),
            "",
            "Differences are in nats per datapoint; from the paper, ours minus the paper's.",
            "",
        ]
    )


def write(budget: str | float, seed: int = 0) -> list[Path]:
    """Write the receipt under results/local; returns both files."""
    content = receipt(budget, seed)
    texts = {".md": as_markdown(content), ".json": json.dumps(content, indent=1) + "\n"}
    files = []
    for suffix, text in texts.items():
        target = paths.local() / f"receipt{suffix}"
        with atomic(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
        files.append(target)
    return files

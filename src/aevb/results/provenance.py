"""What made a file: versions, hardware, commit."""

import hashlib
import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from aevb.model import products

PACKAGES = ("aevb", "torch", "torchvision", "numpy", "scipy", "pandas")


def digest(configuration: Any) -> str:
    """SHA-256 of a configuration's canonical JSON."""
    canonical = json.dumps(configuration, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def hardware(device: torch.device) -> dict[str, Any]:
    """The processor that computed, its vector instructions, its matrix products and threads.

    A virtual processor's name may say little, and with other instructions sums round otherwise.
    """
    threads = {"threads": torch.get_num_threads()}
    if device.type == "cuda":
        return {"device": "cuda", "name": torch.cuda.get_device_name(device), **threads}
    return {
        "device": "cpu",
        "name": _processor("model name") or platform.processor() or platform.machine(),
        "family and model": " ".join(map(_processor, ("cpu family", "model"))).strip(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "products": products.KERNEL,
        **threads,
    }


def _processor(field: str) -> str:
    """What Linux says of the first processor; empty elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == field:
                return value.strip()
    return ""


def maker(device: torch.device) -> dict[str, Any]:
    """What computes now: hardware, versions and commit, as manifests have them."""
    return {"hardware": hardware(device), "versions": versions(), "commit": commit()}


def commit() -> str | None:
    """The commit of this source, with `-dirty` if the library differs from it.

    None where git does not track it: outside a checkout, and installed below another project.
    """
    source = Path(__file__).parent.parent  # the library

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", *arguments], cwd=source, capture_output=True, text=True, check=False
        )

    try:
        tracked = git("ls-files", "--error-unmatch", __file__).returncode == 0
    except FileNotFoundError:  # no git on this machine
        return None
    if not tracked:
        return None
    changed = git("status", "--porcelain", "--", ".").stdout  # untracked files too
    return git("rev-parse", "HEAD").stdout.strip() + ("-dirty" if changed else "")

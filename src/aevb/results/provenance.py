"""What made a result: versions, hardware, commit."""

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
    """Versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def hardware(device: torch.device) -> dict[str, Any]:
    """The processor, its vector instructions, the kernel of matrix products, and threads.

    Other vector instructions round sums differently, and a virtual processor's name may not tell.
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
    """A field of /proc/cpuinfo; empty if there is none."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == field:
                return value.strip()
    return ""


def maker(device: torch.device) -> dict[str, Any]:
    """Hardware, versions and commit of this process, as manifests have them."""
    return {"hardware": hardware(device), "versions": versions(), "commit": commit()}


def commit() -> str | None:
    """The commit of the library's source, with `-dirty` if it was changed since.

    None if git does not track it: outside a checkout, or installed below another project.
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

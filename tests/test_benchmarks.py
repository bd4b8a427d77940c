"""The benchmark that times an update's parts makes the update that it says it times."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture
def contenders(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    module = importlib.import_module("contenders")
    pixels = torch.rand(300, 784, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(module, "images", lambda: pixels)
    return module


def test_an_update_in_parts_is_an_update(contenders: Any) -> None:
    whole, in_parts = (contenders.begin(n_hidden=8) for _ in range(2))
    whole.advance(2)
    update = contenders.update_in_parts(in_parts)
    seconds = [update(), update()]
    assert all(time >= 0 for one in seconds for time in one.values())
    expected, found = (t.state(0)["parameters"] for t in (whole, in_parts))
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name

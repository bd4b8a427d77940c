"""Code and tables as Markdown."""

import pandas as pd
import pytest

from aevb import pages
from aevb.model.networks import StackedLinear


def test_code_is_the_librarys_own_dedented() -> None:
    text = pages.source(StackedLinear.forward, pages.markdown)
    assert text.startswith("```python\ndef forward(self, x: Tensor) -> Tensor:\n    ")
    assert "\n\ndef markdown(" in text
    assert text.endswith("\n```")


def test_rows_and_frames_give_the_same_table() -> None:
    rows: list[dict[str, object]] = [{"run": "a", "nats": "−1.0"}, {"run": "b", "nats": 2}]
    expected = "| run | nats |\n| --- | --- |\n| a | −1.0 |\n| b | 2 |"
    assert pages.markdown(rows) == pages.markdown(pd.DataFrame(rows)) == expected
    with pytest.raises(ValueError, match="needs a row"):
        pages.markdown([])

"""Code and tables as Markdown."""

import pandas as pd
import pytest

from aevb import markdown
from aevb.model.networks import Affine


def test_code_is_the_librarys_own_dedented() -> None:
    text = markdown.source(Affine.forward, markdown.table)
    assert text.startswith("```python\ndef forward(self, x: Tensor) -> Tensor:\n    ")
    assert "\n\ndef table(" in text
    assert text.endswith("\n```")


def test_rows_and_frames_give_the_same_table() -> None:
    rows: list[dict[str, object]] = [{"run": "a", "nats": "−1.0"}, {"run": "b", "nats": 2}]
    expected = "| run | nats |\n| --- | --- |\n| a | −1.0 |\n| b | 2 |"
    assert markdown.table(rows) == markdown.table(pd.DataFrame(rows)) == expected
    with pytest.raises(ValueError, match="needs a row"):
        markdown.table([])


def test_html_from_a_file_is_shown_and_not_obeyed() -> None:
    told = markdown.table([{"machine": "<script>alert(1)</script> a < b", "n\\_<wbr>hidden": 1}])
    assert "<script" not in told
    assert "&lt;script>alert(1)&lt;/script> a &lt; b" in told
    assert "n\\_<wbr>hidden" in told

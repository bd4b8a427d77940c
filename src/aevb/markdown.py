"""The library's code, and tables, as Markdown: for the pages of the book."""

import inspect
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd


def source(*objects: Any) -> str:
    """The code of functions, methods or classes as it runs here, dedented, as one block."""
    blocks = "\n\n".join(textwrap.dedent(inspect.getsource(code)) for code in objects)
    return f"```python\n{blocks}```"


def table(rows: Sequence[Mapping[str, Any]] | pd.DataFrame) -> str:
    """A table of rows with the same keys, or of a data frame without its index.

    Cells are `plain`, since a foreign file may hold anything.

    Raises:
        ValueError: if there is no row.
    """
    if isinstance(rows, pd.DataFrame):
        head: list[Any] = list(rows.columns)
        values: list[Any] = list(rows.itertuples(index=False, name=None))
    elif rows:
        head, values = list(rows[0]), [tuple(row.values()) for row in rows]
    else:
        raise ValueError("a table needs a row to name its columns")
    lines = [head, ["---"] * len(head), *values]
    return "\n".join(f"| {' | '.join(plain(cell) for cell in line)} |" for line in lines)


def plain(text: object) -> str:
    """Text with its HTML escaped; only `<wbr>`, where a line may break, is kept."""
    return re.sub(r"<(?!wbr>)", "&lt;", str(text))

"""The command `aevb`, also as `python -m aevb`; `aevb judge` loads no PyTorch."""

import sys
from io import TextIOWrapper


def main() -> None:
    """Run the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal may lack some characters
            stream.reconfigure(errors="replace")
    if sys.argv[1:2] == ["judge"]:
        from aevb.judge_command import main as command
    else:
        from aevb.cli import main as command
    command()


if __name__ == "__main__":
    main()

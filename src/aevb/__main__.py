"""The command `aevb`, also as `python -m aevb`; `aevb judge` loads no PyTorch."""

import sys


def main() -> None:
    """Run the command."""
    if sys.argv[1:2] == ["judge"]:
        from aevb.judge_command import main as command
    else:
        from aevb.cli import main as command
    command()


if __name__ == "__main__":
    main()

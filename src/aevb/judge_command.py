"""The command `aevb judge`, apart from the others: it loads no PyTorch."""

import json
import sys
from dataclasses import fields
from typing import Annotated, Literal

import typer

from aevb.comparison import foreign
from aevb.comparison.judge import judge
from aevb.errors import ConfigurationError, DamagedFileError


def judge_curve(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A CSV file; - for standard input.")],
    like: Annotated[
        str | None, typer.Option(help="What the model is, such as mnist-nz20-aevb.")
    ] = None,
    split: Annotated[
        Literal["train", "validation", "test"] | None, typer.Option(help="Of what images.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Column of the values.")] = None,
    x: Annotated[
        Literal["samples", "steps", "epochs"] | None,
        typer.Option(help="What the horizontal axis counts."),
    ] = None,
    minibatch: Annotated[int | None, typer.Option(min=1, help="Datapoints a step.")] = None,
    n_train: Annotated[int | None, typer.Option(min=1, help="Datapoints an epoch.")] = None,
    epochs_from: Annotated[
        int | None, typer.Option(min=0, max=1, help="Number of the first epoch of training.")
    ] = None,
    quantity: Annotated[
        Literal["bound", "loss"] | None, typer.Option(help="Higher or lower is better.")
    ] = None,
    unit: Annotated[Literal["nats", "bits"] | None, typer.Option(help="Of the values.")] = None,
    per: Annotated[
        Literal["datapoint", "pixel", "minibatch"] | None,
        typer.Option(help="A sum over pixels, a mean over them, or a sum over a minibatch."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same numbers as JSON.")] = False,
) -> None:
    """Hold a curve of any code against the paper's and ours.

    Column names say most of what a file holds, options the rest; the exports of TensorBoard and
    Weights & Biases are taken as they are. The exit status is 0 inside the band, 1 outside it and
    2 where the file or the options cannot be used.
    """
    given = locals()
    options = foreign.Options(
        **{field.name: given[field.name] for field in fields(foreign.Options)}
    )
    try:
        content = sys.stdin.buffer if file == "-" else None
        curve = foreign.read("standard input" if content else file, options, content)
        found = judge(
            curve.samples,
            curve.bound,
            like=curve.ours.name,
            split=curve.ours.split,
            minibatch=minibatch,
            reconstruction=curve.reconstruction,
            kl=curve.kl,
        )
    except (ConfigurationError, DamagedFileError, OSError) as error:
        print(f"aevb: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    if as_json:
        print(json.dumps({"reading": curve.reading, **found.as_dict()}, indent=2))
    else:
        print(curve.reading, found, sep="\n")
    if not found.inside:
        raise typer.Exit(1)


def main() -> None:
    """Run `aevb judge`."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.callback()(lambda: None)  # or it would leave out the name `judge`
    app.command("judge")(judge_curve)
    app(prog_name="aevb")

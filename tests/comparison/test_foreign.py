"""Files of other code: what they mean is understood, asked for or refused in one line."""

import io
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aevb.comparison import foreign
from aevb.errors import ConfigurationError, DamagedFileError

MNIST: dict[str, Any] = {"like": "mnist-nz20-aevb", "split": "validation"}


def read(content: str | bytes, name: str = "my.csv", **options: Any) -> foreign.Foreign:
    data = content.encode() if isinstance(content, str) else content
    settings = foreign.Options(**{**MNIST, **options})
    return foreign.read(name, settings, io.BytesIO(data))


def curve(content: str | bytes, **options: Any) -> tuple[list[float], list[float]]:
    found = read(content, **options)
    return found.samples.tolist(), found.bound.tolist()


TWO = ([1e6, 2e6], [-120.5, -115.25])


# ------------------------------------------------------------------------- what people have


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("samples,bound\n1000000,-120.5\n2000000,-115.25\n", {}),
        ("samples,loss\n1e6,120.5\n2e6,115.25\n", {}),
        ("samples,value\n1e6,120.5\n2e6,115.25\n", {}),  # above 0: a loss
        ("step,elbo\n10000,-120.5\n20000,-115.25", {"minibatch": 100}),
        ("epoch,elbo\n20,-120.5\n40,-115.25", {"n_train": 50_000}),
        ("epoch,elbo\n19,-120.5\n39,-115.25", {"n_train": 50_000, "epochs_from": 0}),
        ("epoch,step,elbo\n1,10000,-120.5\n2,20000,-115.25", {"minibatch": 100}),
        ("epoch,step,elbo\n20,9,-120.5\n40,10,-115.25", {"n_train": 50_000}),
        ("Step,elbo\n20,-120.5\n40,-115.25", {"n_train": 50_000}),
        ("Step,elbo\n1e6,-120.5\n2e6,-115.25", {"x": "samples"}),
        ("samples,train_elbo,val_elbo,lr\n1e6,-1,-120.5,.1\n2e6,-1,-115.25,.1", {}),
        ("samples,recon,kl\n1e6,-100.5,20\n2e6,-95,20.25", {}),
        ("samples,recon_loss,kl_loss\n1e6,100.5,20\n2e6,95,20.25", {}),
        ("samples,nll,KLD,loss\n1e6,100.5,20,120.5\n2e6,95,20.25,115.25", {}),
        ("samples,elbo\n1e6,-12050\n2e6,-11525", {"per": "minibatch", "minibatch": 100}),
        # other separators, marks and encodings
        ("samples;bound\n1000000;-120,5\n2000000;-115,25\n", {}),
        ("samples\tbound\n1000000\t-120,5\n2000000\t-115,25\n", {}),
        ("samples | bound\n1000000 | -120.5\n2000000 | -115.25\n", {}),
        ("samples  bound\n1000000  -120.5\n2000000  -115.25\n", {}),
        ("sep=;\r\nsamples;bound\r\n1000000;-120.5\r\n2000000;-115.25\r\n", {}),
        ("# mine\n\nsamples,bound\n# a note\n1e6,-120.5\n\n2e6,-115.25\n", {}),
        ("samples,bound\n1e6,\u2212120.5\n2e6,\u2212115.25\n", {}),
        ("samples;bound\n1 000 000;-120.5\n2\u00a0000\u202f000;-115.25\n", {}),
        ("samples,bound,\n1e6,-120.5,\n2e6,-115.25,\n", {}),
        ("\ufeffsamples,bound\n1e6,-120.5\n2e6,-115.25\n", {}),
        ("samples,bound\n1e6,-120.5\n2e6,-115.25\n".encode("utf-16"), {}),
        ("samples,bound,größe\n1e6,-120.5,1\n2e6,-115.25,1\n".encode("latin-1"), {}),
        (b"samples,bound\r1e6,-120.5\r2e6,-115.25\r", {}),
    ],
)
def test_one_curve_in_many_forms(content: str | bytes, options: dict[str, Any]) -> None:
    samples, bound = curve(content, **options)
    assert samples == TWO[0]
    assert bound == pytest.approx(TWO[1])


@pytest.mark.parametrize(
    ("name", "options", "factor"),
    [
        ("value", {"unit": "bits"}, math.log(2)),
        ("value", {"per": "pixel"}, 784),
        ("value", {"unit": "bits", "per": "pixel"}, 784 * math.log(2)),
        ("val_bpd", {}, 784 * math.log(2)),
        ("bits_per_dim", {"like": "freyface-nz2-aevb", "split": "test"}, 560 * math.log(2)),
    ],
)
def test_units(name: str, options: dict[str, Any], factor: float) -> None:
    found = read(f"samples,{name}\n1e6,0.25\n", **{"quantity": "loss", **options})
    assert found.bound.tolist() == pytest.approx([-0.25 * factor])
    assert "assumed" not in found.reading


def test_what_was_assumed_is_told() -> None:
    assert read("samples,value\n1e6,120\n").reading == (
        "my.csv: 'value' read as a loss (on MNIST no bound is above 0) in nats per datapoint "
        "(assumed); samples are 'samples'."
    )


def test_an_export_of_tensorboard() -> None:
    content = "Wall time,Step,Value\n1700000000.1,10000,120.5\n1700000060.2,20000,115.25\n"
    found = read(content, "run-vae_validation-tag-loss.csv", minibatch=100, split=None)
    assert (found.samples.tolist(), found.bound.tolist()) == TWO
    assert found.ours.split == "validation"  # by the file's name
    with pytest.raises(ConfigurationError, match="say --split"):
        read(content, "download.csv", minibatch=100, split=None)


def test_an_export_of_weights_and_biases() -> None:
    runs = ("low-loss-3", "brave-test-4")  # what runs are called says nothing
    names = ["Step"] + [f"{r} - val_elbo{e}" for r in runs for e in ("", "__MIN", "__MAX")]
    header = ",".join(f'"{name}"' for name in names)
    rows = [
        '"10000","-120.5","-120.5","-120.5","","",""',
        '"15000","","","","-130","-130","-130"',
        '"20000","-115.25","-115.25","-115.25","","",""',
    ]
    content = "\n".join([header, *rows])
    options: dict[str, Any] = {"minibatch": 100, "split": None}
    with pytest.raises(ConfigurationError, match=r"--column.*'low-loss-3 - val_elbo'"):
        read(content, **options)
    assert curve(content, column="low-loss-3 - val_elbo", **options) == TWO
    assert curve(content, column="brave-test-4 - val_elbo", **options) == ([1.5e6], [-130])


def test_rows_of_other_columns_are_left_out() -> None:
    content = "epoch,step,train_loss,val_loss\n0,9999,3,\n0,10000,,120.5\n1,20000,,115.25\n"
    assert curve(content, minibatch=100) == TWO


def test_parts_are_kept_for_the_judge() -> None:
    found = read("samples,elbo,log_px_given_z,kl\n1e6,-120.5,-100.5,20\n")
    assert found.reconstruction is not None
    assert found.kl is not None
    assert (found.reconstruction[0], found.kl[0]) == (-100.5, 20)


def test_a_file_of_ours_is_read(tmp_path: Path) -> None:
    from aevb.results import curves

    ours = curves.published("figure2", "mnist-nz20-aevb-seed0")
    found = foreign.read(str(ours.path), foreign.Options(**MNIST))
    assert found.bound.tolist() == ours.table.validation.tolist()


# ---------------------------------------------------------------------------- what is asked for


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("samples,elbo\n1e6,-120", {"like": None}, "--like.*mnist-nz3-aevb.*n50000-mcem"),
        ("samples,elbo\n1e6,-120", {"split": None}, "--split"),
        ("samples,train_elbo,test_elbo\n1e6,-1,-1", {"split": None}, "--split.*test, train"),
        ("step,elbo\n1,-120", {}, "--minibatch.*--n-train.*--x samples"),
        ("step,elbo\n1,-120", {"minibatch": 1, "n_train": 2}, "--x.*steps or epochs"),
        ("epoch,elbo\n1,-120", {}, "--n-train"),
        ("step,elbo\n1,-120", {"x": "epochs"}, "--n-train"),
        ("epoch,elbo\n0,-120\n1,-110", {"n_train": 5}, "--epochs-from 1.*or 0"),
        ("samples,a,b\n1,2,3", {}, "--column.*'a', 'b'"),
        ("samples,value\n1e6,120\n2e6,-1", {}, "--quantity"),
        (
            "samples,value\n1e6,800",
            {"like": "freyface-nz2-aevb", "split": "test"},
            "--quantity",
        ),
        ("samples,elbo\n1e6,-1e4", {"per": "minibatch"}, "--minibatch"),
        ("samples,elbo\n1e6,-1", {"column": "x"}, "no column 'x': it has 'elbo'"),
        ("time,elbo\n1e6,-1", {}, "no column of samples, steps, epochs"),
        ("samples,elbo\n1e6,-1", {"like": "vae"}, "no configuration is called 'vae'"),
    ],
)
def test_what_cannot_be_known_is_asked_for_in_one_line(
    content: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words) as error:
        read(content, **options)
    assert "\n" not in str(error.value)


def test_everything_is_asked_for_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"--like.*--split.*'step' counts.*--quantity"):
        read("step,value\n1,5\n2,-5\n", like=None, split=None)


# ------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("samples,elbo\n", "no row with a value"),
        ("samples,elbo\n1e6,\n", "no row with a value"),
        ("1e6,-120\n2e6,-110\n", "line 1: expected names"),
        ("elbo\n-120\n", "line 1: one column"),
        ("samples,elbo,elbo\n1,2,3\n", "line 1: two columns are called 'elbo'"),
        ("samples,elbo\n1e6,-120\n2e6,nan\n", "line 3: elbo is nan; delete"),
        ("samples,elbo\n1e6,-inf\n", "line 2: elbo is -inf"),
        ("samples,elbo\nnan,-1\n", "line 2: samples is nan"),
        ("samples,elbo\n# note\n\n2e6,-120\n1e6,-110\n", "line 5: samples 1000000 comes after 2"),
        ("samples,elbo\n1e6,-120\n1e6,-110\n", "line 3: samples 1000000 is there twice"),
        ("samples,elbo\n-5,-120\n", "line 2: samples is negative"),
        ("samples,elbo\n1e6,abc\n", "line 2: 'abc' is not a number; correct it"),
        ("samples,elbo\n,-120\n", "line 2: '' is not a number"),
        ("samples,elbo\n1e6,-120\n2e6\n", "line 3: 1 cells for 2 columns; complete"),
        ("samples,elbo\n1000000,-120,5\n", "line 2: 3 cells for 2 columns; if commas"),
        ('samples,elbo\n"1,000,000",-120\n', "line 2: '1,000,000'.*separators of thousands"),
        ("samples\telbo\n1,000\t-120\n", "line 2: '1,000'.*separators of thousands"),
        ("samples;elbo\n1.000.000;-120,5\n", "line 2: '1.000.000' is not a number"),
        ("samples;elbo\n1.000;-120,5\n", "line 2: dots and commas"),
        ("samples;elbo\n1.000;-120\n2.000;-110,5\n", "line 3: dots and commas"),
        (b"PK\x03\x04\0\0\0", "is not text"),
        (b"\x1f\x8b\x08\x01", "is not text"),
    ],
)
def test_a_bad_file_is_refused_in_one_line_that_names_the_row(
    content: str | bytes, words: str
) -> None:
    with pytest.raises(DamagedFileError, match=words) as error:
        read(content)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("my.csv")


def test_whatever_is_broken_no_other_error_comes_out() -> None:
    """A thousand damaged copies of a file are read or refused."""
    random = np.random.default_rng(0)
    whole = "step,epoch,val_loss,kl\n" + "".join(f"{k},{k},{200 - k},{k}.5\n" for k in range(1, 20))
    messages = []
    for _ in range(1000):
        broken = bytearray(whole.encode())
        for _ in range(random.integers(1, 6)):
            place = random.integers(len(broken))
            broken[place : place + random.integers(0, 9)] = random.choice(
                [b"", b",", b";", b"\n", b'"', b"\0", b"nan", b"-", b"\xff", b"1e999", b" "]
            )
        try:
            found = read(bytes(broken), minibatch=1000)
        except (ConfigurationError, DamagedFileError) as error:
            messages.append(str(error))
        else:
            assert np.isfinite(found.bound).all()
            assert (np.diff(found.samples) > 0).all()
    assert 100 < len(messages) < 1000
    assert not any("\n" in message for message in messages)


def test_many_rows_are_read() -> None:
    rows = 300_000
    content = "step,loss\n" + "".join(f"{k},120.5\n" for k in range(rows))
    began = time.process_time()
    samples, _ = curve(content, minibatch=100)
    assert samples[-1] == 100 * (rows - 1)
    assert time.process_time() - began < 10  # ten million rows in minutes at the very most

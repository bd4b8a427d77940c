"""Local results become published ones."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from published import change

from aevb import paths
from aevb.errors import ConfigurationError, DamagedFileError
from aevb.results import curves, models, publishing

pytestmark = pytest.mark.usefixtures("project")

SETTINGS = {"study": "study", "prior": 1.0}


def put(root: Path, name: str, samples: int, /, **changed: object) -> Path:
    """A curve of one row, `test`, and its manifest."""
    file = paths.curve(root, "study", name)
    manifest = {
        "configuration": SETTINGS,
        "configuration_sha256": "an-experiment",
        "name": name,
        "data_sha256": {"images": "some"},
    }
    row = {"samples": samples, "test": -1.0}
    curves.write(file, [row], manifest | {"samples": samples} | changed)
    return file


def export(name: str, value: float, /, **changed: object) -> Path:
    """A model with the manifest of its curve."""
    target = paths.model(paths.local(), "study", name)
    manifest = curves.read_manifest(paths.curve(paths.local(), "study", name))
    models.write(target, {"weight": torch.tensor([value])}, manifest | changed)
    return target


def test_publishing_never_shortens_a_curve() -> None:
    with pytest.raises(FileNotFoundError, match="no curve of study"):
        publishing.publish(["study"])
    for name, own, public in (("longer", 20, 10), ("shorter", 10, 20), ("new", 10, None)):
        put(paths.local(), name, own)
        if public:
            put(paths.published(), name, public)

    export("longer", 1.0)
    publishing.publish(["study"])
    export("longer", 2.0)
    export("new", 2.0, samples=5)  # before its curve was continued
    lines: list[str] = []
    written = publishing.publish(["study"], report=lines.append)
    assert [file.stem for file in written] == ["longer", "new"]
    assert [line.partition(":")[0] for line in lines] == [
        "the model of new is left",
        "shorter is left",
    ]
    for name, samples in (("longer", 20), ("shorter", 20), ("new", 10)):
        file = paths.curve(paths.published(), "study", name)
        assert curves.read(file).samples == samples
        assert curves.read_manifest(file)["samples"] == samples
    model, stale = (paths.model(paths.published(), "study", name) for name in ("longer", "new"))
    assert model.read_bytes() == paths.model(paths.local(), "study", "longer").read_bytes()
    assert not stale.exists()


def test_a_model_of_another_training_is_left() -> None:
    put(paths.local(), "run", 10)
    export("run", 1.0, configuration_sha256="of the training before")
    lines: list[str] = []
    publishing.publish(["study"], report=lines.append)
    (line,) = lines
    assert line.startswith("the model of run is left")
    model = paths.model(paths.published(), "study", "run")
    assert not model.exists()
    export("run", 1.0, wall_seconds=2.0)  # a stop since then has written the manifest anew
    publishing.publish(["study"])
    assert model.exists()


def test_a_curve_of_other_data_takes_no_place() -> None:
    put(paths.published(), "run", 10)
    put(paths.local(), "run", 20, data_sha256={"images": "others"})
    with pytest.raises(ConfigurationError, match=r"from other data .*'some'.*, got .*'others'"):
        publishing.publish(["study"])


def test_publishing_keeps_the_settings_and_the_columns_of_a_curve() -> None:
    public = put(paths.published(), "run", 10)
    before = public.read_bytes()
    other = SETTINGS | {"prior": 16.0}
    put(paths.local(), "run", 20, configuration=other, configuration_sha256="another")
    with pytest.raises(
        ConfigurationError, match="expected the configuration an-experiment, got another"
    ):
        publishing.publish(["study"])
    put(paths.local(), "run", 20)
    with pytest.raises(FileNotFoundError, match="no curve of another-study"):
        publishing.publish(["study", "another-study"])
    assert public.read_bytes() == before  # all or nothing
    assert publishing.publish(["study"]) == [public]
    change(curves.read(public), validation=-2.0)
    with pytest.raises(ConfigurationError, match=r"lacks columns of .*: validation"):
        publishing.publish(["study"])


def renamed() -> None:
    file = put(paths.local(), "z-seed0", 10)
    for part in (file, file.with_suffix(".json")):
        part.rename(part.with_stem("z-seed7"))


def of_other_samples() -> None:
    put(paths.local(), "z", 10, samples=20)


def without_manifest() -> None:
    put(paths.local(), "z", 10).with_suffix(".json").unlink()


def nonsense() -> None:
    put(paths.local(), "z", 10).write_text("nonsense")


def half_a_model() -> None:
    put(paths.local(), "z", 10)
    model = export("z", 1.0)
    model.write_bytes(model.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("spoil", "error", "told"),
    [
        (renamed, DamagedFileError, r"z-seed7\.csv .* by its manifest it is z-seed0 of study"),
        (of_other_samples, DamagedFileError, r"ends at 10 samples, .* to 20"),
        (without_manifest, FileNotFoundError, "no manifest at"),
        (nonsense, DamagedFileError, "its manifest"),
        (half_a_model, DamagedFileError, r"z\.safetensors cannot be read"),
    ],
)
def test_what_is_wrong_with_the_last_leaves_the_first_unpublished(
    spoil: Callable[[], None], error: type[Exception], told: str
) -> None:
    put(paths.local(), "first", 10)
    spoil()
    with pytest.raises(error, match=told):
        publishing.publish(["study"])
    assert not (paths.published() / "curves").exists()


def test_a_longer_curve_keeps_the_name_under_which_it_can_have_been_cited() -> None:
    first = {"study": "figure2", "configuration_sha256": "an-experiment"}
    public = put(paths.published(), "run", 10, first_published_as=first)
    own = put(paths.local(), "run", 20)
    publishing.publish(["study"])
    published = curves.read_manifest(public)
    assert published == curves.read_manifest(own) | {"first_published_as": first}

"""Local results become published ones."""

from pathlib import Path

import pytest
import torch

from aevb import curves, models, paths, publishing
from aevb.experiments import ConfigurationError

MANIFEST = {"configuration": {"prior": 1.0}, "configuration_sha256": "an-experiment"}


def test_publishing_never_shortens_a_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results" / "paper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="no curve of study"):
        publishing.publish(["study"])

    def put(root: Path, name: str, samples: int) -> Path:
        file = paths.curve(root, "study", name)
        curves.write(file, [{"samples": samples, "test": -1.0}], MANIFEST | {"samples": samples})
        return file

    for name, own, public in (("longer", 20, 10), ("shorter", 10, 20), ("new", 10, None)):
        put(paths.local(), name, own)
        if public:
            put(paths.published(), name, public)

    def export(name: str, samples: int, value: float) -> None:
        target = paths.model(paths.local(), "study", name)
        models.write(target, {"weight": torch.tensor([value])}, {"samples": samples})

    export("longer", 20, 1.0)
    publishing.publish(["study"])
    export("longer", 20, 2.0)
    export("new", 5, 2.0)  # before its curve was continued
    said: list[str] = []
    written = publishing.publish(["study"], report=said.append)
    assert [file.stem for file in written] == ["longer", "new"]
    assert said == ["shorter is left: it ends at 10 samples, not at 20"]
    for name, samples in (("longer", 20), ("shorter", 20), ("new", 10)):
        file = paths.curve(paths.published(), "study", name)
        assert curves.read(file).samples.tolist() == [samples]
        assert curves.read_manifest(file)["samples"] == samples
    model, stale = (paths.model(paths.published(), "study", name) for name in ("longer", "new"))
    assert model.read_bytes() == paths.model(paths.local(), "study", "longer").read_bytes()
    assert not stale.exists()


def test_publishing_keeps_the_settings_and_the_columns_of_a_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "results" / "paper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    own, public = (paths.curve(root, "study", "run") for root in (paths.local(), paths.published()))
    curves.write(
        public, [{"samples": 10, "test": -1.0, "validation": -2.0}], MANIFEST | {"samples": 10}
    )
    before = public.read_bytes()
    row = {"samples": 20, "test": -1.0}
    curves.write(own, [row], MANIFEST | {"samples": 20})
    with pytest.raises(ConfigurationError, match=r"lacks columns of .*: validation"):
        publishing.publish(["study"])
    other = {"configuration": {"prior": 16.0}, "configuration_sha256": "another"}
    curves.write(own, [{**row, "validation": -2.0}], other | {"samples": 20})
    with pytest.raises(
        ConfigurationError, match="expected the configuration an-experiment, got another"
    ):
        publishing.publish(["study"])
    assert public.read_bytes() == before
    curves.write(own, [{**row, "validation": -2.0}], MANIFEST | {"samples": 20})
    with pytest.raises(FileNotFoundError, match="no curve of another-study"):
        publishing.publish(["study", "another-study"])
    assert public.read_bytes() == before  # all or nothing
    assert publishing.publish(["study"]) == [public]


def test_a_longer_curve_keeps_the_name_under_which_it_can_have_been_cited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "results" / "paper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    own, public = (paths.curve(root, "study", "run") for root in (paths.local(), paths.published()))
    first = {"study": "figure2", "configuration_sha256": "an-experiment"}
    curves.write(public, [{"samples": 10}], MANIFEST | {"samples": 10, "first_published_as": first})
    curves.write(own, [{"samples": 20}], MANIFEST | {"samples": 20})
    publishing.publish(["study"])
    published = curves.read_manifest(public)
    assert published == curves.read_manifest(own) | {"first_published_as": first}

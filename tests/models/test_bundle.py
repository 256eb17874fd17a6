"""Bundles on disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from models.bundle import MANIFEST, Bundle, BundleError, Manifest, describe, publish, read, refuse_other, workspace
from models.serving import Model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of the bundle to change."""
    return shutil.copytree(bundle.path, tmp_path / "copy")


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest of a bundle."""
    content = json.loads((path / MANIFEST).read_text())
    change(content)
    (path / MANIFEST).write_text(json.dumps(content))


def test_a_bundle_is_what_the_design_says(bundle: Bundle) -> None:
    """Those who read a bundle would miss a file or a figure."""
    assert sorted(file.name for file in bundle.path.iterdir()) == [
        "autoencoder.keras",
        "bundle.json",
        "calibration.npz",
        "decoder.keras",
        "encoder.keras",
        "model.onnx",
        "training.json",
        "training.png",
    ]
    assert set(bundle.manifest.files) == {file.name for file in bundle.path.iterdir()} - {MANIFEST}
    assert bundle.sha256 == hashlib.sha256((bundle.path / MANIFEST).read_bytes()).hexdigest()
    content = json.loads((bundle.path / MANIFEST).read_text())
    assert content["format"] == 1
    assert content["members"][0]["kind"] == "lstm"
    assert content["features"] == ["pressure", "flow"]
    assert content["window"]["length"] == 12
    assert [entry["feature"] for entry in content["residuals"]] == content["features"]
    assert set(content["versions"]) == {"python", "numpy", "keras", "tensorflow", "onnx", "tf2onnx", "onnxruntime"}


def test_what_was_written_is_read(bundle: Bundle) -> None:
    """A bundle would change between training and serving."""
    assert read(bundle.path) == bundle
    assert Manifest.model_validate_json(bundle.manifest.model_dump_json()) == bundle.manifest


def test_a_bundle_can_be_read_by_the_service(bundle: Bundle) -> None:
    """A temporary directory's private mode would keep the service's user out."""
    assert bundle.path.stat().st_mode & 0o755 == 0o755


def _flip(path: Path) -> None:
    content = bytearray((path / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "model.onnx").write_bytes(content)


def _append(path: Path) -> None:
    with (path / "model.onnx").open("ab") as file:
        file.write(b"x")


def _shorten(path: Path) -> None:
    os.truncate(path / "calibration.npz", 10)


def _link(path: Path) -> None:
    (path / "model.onnx").rename(path.parent / "elsewhere.onnx")
    (path / "model.onnx").symlink_to(path.parent / "elsewhere.onnx")


def _directory(path: Path) -> None:
    (path / "model.onnx").unlink()
    (path / "model.onnx").mkdir()


def _pipe(path: Path) -> None:
    (path / "model.onnx").unlink()
    os.mkfifo(path / "model.onnx")


def _named(name: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        (path.parent / "outside").write_bytes(b"")
        empty = {"sha256": hashlib.sha256(b"").hexdigest(), "size": 0}
        rewrite(path, lambda content: content["files"].update({name: empty}))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_flip, "model.onnx is not the file that bundle.json describes"),
        (_append, r"model.onnx has \d+ bytes, \d+ expected at most"),
        (_shorten, "calibration.npz has 10 bytes, bundle.json says"),
        (_link, "model.onnx cannot be opened as a plain file"),
        (_directory, "model.onnx is not a plain file"),
        (_pipe, "model.onnx is not a plain file"),
        (lambda path: (path / "model.onnx").unlink(), "model.onnx is missing"),
        (lambda path: (path / MANIFEST).unlink(), "bundle.json is missing"),
        (shutil.rmtree, "there is no such directory"),
        (lambda path: (path / MANIFEST).write_text("{"), "bundle.json is not JSON"),
        (lambda path: (path / MANIFEST).write_bytes(b"\xff\xfe"), "bundle.json is not JSON"),
        (lambda path: (path / MANIFEST).write_text("[" * 100_000), "bundle.json is not JSON"),
        (lambda path: (path / MANIFEST).write_text("[]"), "format None cannot be read"),
        (lambda path: rewrite(path, lambda content: content.update(format=2)), "format 2 cannot be read here, only 1"),
        (lambda path: rewrite(path, lambda content: content.pop("features")), "not valid at features: Field required"),
        (lambda path: rewrite(path, lambda content: content.update(extra=1)), "not valid at extra"),
        (lambda path: rewrite(path, lambda content: content["features"].append("x")), "residuals are not those"),
        (lambda path: rewrite(path, lambda content: content["files"].pop("model.onnx")), "files has no model.onnx"),
        (_named("../outside"), "not valid at files"),
        (_named("/etc/passwd"), "not valid at files"),
        (_named(".."), "not valid at files"),
        (_named("a/../../outside"), "not valid at files"),
    ],
)
def test_a_changed_bundle_is_refused_in_one_line(copy: Path, change: Callable[[Path], None], message: str) -> None:
    """A damaged or forged bundle would be served, or a file outside of it be opened."""
    change(copy)
    with pytest.raises(BundleError, match=message) as caught:
        read(copy)
    assert "\n" not in str(caught.value)


def test_a_file_that_changes_after_reading_is_refused(copy: Path) -> None:
    """What is used would not be what was checked."""
    made = read(copy)
    _flip(copy)
    with pytest.raises(BundleError, match="SHA-256 differs"):
        Model(made)


def test_a_file_that_is_not_named_is_not_given(bundle: Bundle) -> None:
    """A file without a hash would be used."""
    with pytest.raises(BundleError, match="has no file other"):
        bundle.content("other")


def test_a_bundle_replaces_a_bundle_and_nothing_else(bundle: Bundle, copy: Path, tmp_path: Path) -> None:
    """A slip in --out would destroy somebody's directory, or a second training would fail."""
    with workspace(copy) as folder:
        for name in bundle.manifest.files:
            (folder / name).write_bytes(bundle.content(name))
        renamed = bundle.manifest.model_copy(update={"versions": {"python": "new"}})
        assert publish(folder, copy, renamed).manifest.versions == {"python": "new"}
    assert sorted(tmp_path.iterdir()) == [copy]
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    (tmp_path / "file").write_text("")
    for other in ("home", "file"):
        with pytest.raises(BundleError, match="exists and is no bundle"):
            refuse_other(tmp_path / other)
    refuse_other(tmp_path / "new")


def test_a_failed_training_leaves_nothing_behind(tmp_path: Path) -> None:
    """Half a bundle would lie there, or a temporary directory beside it."""

    def fail() -> None:
        with workspace(tmp_path / "bundle") as folder:
            (folder / "model.onnx").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """A wrong --out would end in a traceback, after the training."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot be written"), workspace(tmp_path / "file" / "bundle"):
        pass


def test_files_are_described_by_size_and_hash(tmp_path: Path) -> None:
    """A manifest would not fit its own files."""
    (tmp_path / "a").write_bytes(b"abc")
    assert describe(tmp_path)["a"].size == 3
    assert describe(tmp_path)["a"].sha256 == hashlib.sha256(b"abc").hexdigest()

"""The bundle: the directory that training writes and serving reads.

`bundle.json` is the manifest; it names every other file with its size and SHA-256. Nothing is opened before both are
found right, nothing is unpickled, and no code comes out of a bundle: networks are rebuilt from the manifest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.base import Hyperparameters
from models.calibration import Calibration, Residual
from models.detector import Detector
from models.scaling import Scaling

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = 1
MANIFEST = "bundle.json"
ONNX = "model.onnx"
_MANIFEST_LIMIT = 64 * 1024 * 1024  # bytes; a manifest of thousands of features is far below
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"  # a plain file name: no separator, no leading dot


class BundleError(Exception):
    """A bundle cannot be read or written; the message is one line that says what to do."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WindowShape(_Strict):
    """How records become windows; what training used is what serving must use.

    Attributes:
        length: rows of a window.
        stride: rows from one window's end to the next one's.
        interval: width of a cell of event time in ms; None = a row is a record.
        aggregate: what a cell makes of its records.
        max_gap: empty cells in a row that are filled.
        fill: how they are filled.
        max_missing: share of missing cells (of length × features) above which a window is not scored.
    """

    length: int = Field(ge=1, le=100_000)
    stride: int = Field(default=1, ge=1)
    interval: int | None = Field(default=None, ge=1)
    aggregate: Literal["mean", "last", "min", "max", "sum"] = "mean"
    max_gap: int = Field(default=0, ge=0)
    fill: Literal["hold", "linear"] = "hold"
    max_missing: float = Field(default=0.5, ge=0, le=1)


class Member(_Strict):
    """One autoencoder of the bundle.

    Attributes:
        name: its name within the bundle.
        kind: its kind; the name of the module that rebuilds it.
        onnx: the file of its graph.
        hyperparameters: what it was built and trained with.
        parameters: trained numbers in it.
    """

    name: str
    kind: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    onnx: str = Field(default=ONNX, pattern=_NAME)
    hyperparameters: Hyperparameters
    parameters: int = Field(ge=0)


class Training(_Strict):
    """How the training went.

    Attributes:
        epochs: epochs that were run.
        best_epoch: the epoch, counted from 1, whose weights were kept.
        loss: training loss of that epoch.
        validation_loss: validation loss of that epoch, and with it of the kept weights.
        baseline_loss: validation loss of the training mean as the reconstruction; a model that learned anything is
            below.
        validation_error: mean squared error of the present cells of the validation windows, in scaled units; unlike
            the loss it can be compared between kinds.
        baseline_error: the same with the training mean as the reconstruction.
        figures: what the kind alone reports, by name, such as the share of active units.
        seconds: wall time of the fit.
        training_windows: windows trained on.
        validation_windows: windows that chose the epoch.
        calibration_windows: windows that the calibration was made from.
        left_out_windows: windows in no part: labelled, too much missing, or sharing rows with a held-out part.
        warnings: what the user should know, one sentence each.
    """

    epochs: int
    best_epoch: int
    loss: float
    validation_loss: float
    baseline_loss: float
    validation_error: float = 0.0
    baseline_error: float = 0.0
    figures: dict[str, float] = {}
    seconds: float
    training_windows: int
    validation_windows: int
    calibration_windows: int
    left_out_windows: int
    warnings: tuple[str, ...] = ()


class Rounded(_Strict):
    """What a bundle whose weights are whole numbers of 8 bits says of the one that it was made from.

    Attributes:
        bundle: SHA-256 of that one's `bundle.json`.
        windows: windows of a recording that both scored.
        differing: those of them with another status, or other events.
        largest_difference: of two scores of a window, as a share of the score or its line, whichever is greater.
    """

    bundle: str = Field(pattern=r"^[0-9a-f]{64}$")
    windows: int = Field(ge=1)
    differing: int = Field(ge=0)
    largest_difference: float = Field(ge=0)


class File(_Strict):
    """Size in bytes and SHA-256 (hex) of a file of the bundle."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class Manifest(_Strict):
    """The content of `bundle.json`.

    Attributes:
        format: version of this format.
        members: the autoencoders.
        detector: how several members become one score; None = the first member's score as it is (preset `plain`).
        window: how windows are cut.
        features: names of the features, in the order of the columns.
        scaling: offset and scale of each feature.
        calibration: scores of held-out normal windows.
        residuals: residuals of each feature on them.
        training: how the training went.
        rounded: what it was made from, if its weights have 8 bits; calibration and residuals are that one's.
        versions: versions of Python and of the libraries that made the bundle.
        files: every other file of the bundle.
    """

    format: Literal[1] = 1
    members: tuple[Member, ...] = Field(min_length=1)
    detector: Detector | None = None
    window: WindowShape
    features: tuple[str, ...] = Field(min_length=1)
    scaling: Scaling
    calibration: Calibration
    residuals: tuple[Residual, ...]
    training: Training
    rounded: Rounded | None = None
    versions: dict[str, str]
    files: dict[Annotated[str, Field(pattern=_NAME)], File]

    @model_validator(mode="after")
    def _agree(self) -> Manifest:
        """Refuse a manifest whose parts contradict each other."""
        if len(set(self.features)) != len(self.features):
            message = "a feature is named twice"
            raise ValueError(message)
        if tuple(residual.feature for residual in self.residuals) != self.features:
            message = "residuals are not those of the features"
            raise ValueError(message)
        if {len(self.scaling.mean), len(self.scaling.offset), len(self.scaling.scale)} != {len(self.features)}:
            message = "scaling has another number of features"
            raise ValueError(message)
        parts = () if self.detector is None else self.detector.parts
        wanted = [member.onnx for member in self.members] + [part.onnx for part in parts if part.onnx is not None]
        missing = [name for name in wanted if name not in self.files]
        if missing:
            message = f"files has no {missing[0]}"
            raise ValueError(message)
        return self

    def residual(self, q: float = 0.99) -> tuple[float, ...]:
        """Return each feature's quantile `q` of |actual - expected| in raw units, `q` one of the table's."""
        return tuple(dict(residual.quantiles)[q] for residual in self.residuals)


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose manifest, sizes and hashes were found right.

    Attributes:
        path: its directory.
        manifest: the content of `bundle.json`.
        sha256: SHA-256 of the bytes of `bundle.json`, hex; it covers every file, by their hashes.
    """

    path: Path
    manifest: Manifest
    sha256: str

    def content(self, name: str) -> bytes:
        """Return the bytes of a file of the bundle, checked again, so that what is used is what was checked.

        Raises:
            BundleError: if the bundle does not name the file, or it is not as the manifest says.
        """
        if name not in self.manifest.files:
            message = f"bundle {self.path} has no file {name}"
            raise BundleError(message)
        return _checked(self.path, name, self.manifest.files[name])


def read(path: Path) -> Bundle:
    """Read the manifest of the bundle at `path`, and check every file that it names.

    Raises:
        BundleError: if there is no bundle, it is of another format version, or a file of it is missing, is not a
            regular file, or has another size or hash than the manifest says.
    """
    content = _read(path, MANIFEST, _MANIFEST_LIMIT)
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        message = f"bundle {path}: {MANIFEST} is not JSON ({error}); train it again"
        raise BundleError(message) from None
    version = fields.get("format") if isinstance(fields, dict) else None
    if version != FORMAT:
        message = (
            f"bundle {path}: format {version!r} cannot be read here, only {FORMAT}; train it again with this version"
        )
        raise BundleError(message)
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        message = f"bundle {path}: {MANIFEST} is not valid at {where}: {first['msg']}; train it again"
        raise BundleError(message) from None
    for name, file in manifest.files.items():
        _checked(path, name, file)
    return Bundle(path, manifest, hashlib.sha256(content).hexdigest())


def _read(path: Path, name: str, limit: int) -> bytes:
    """Return the bytes of a regular file of at most `limit` bytes inside `path`, never through a symbolic link."""
    if not path.is_dir():
        message = f"bundle {path}: there is no such directory; `tidegauge train` makes one"
        raise BundleError(message)
    try:
        descriptor = os.open(path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        message = f"bundle {path}: {name} is missing"
        raise BundleError(message) from None
    except OSError as error:
        message = f"bundle {path}: {name} cannot be opened as a plain file ({error.strerror})"
        raise BundleError(message) from None
    status = os.fstat(descriptor)
    wrong = ""
    if not stat.S_ISREG(status.st_mode):
        wrong = f"bundle {path}: {name} is not a plain file"
    elif status.st_size > limit:
        wrong = f"bundle {path}: {name} has {status.st_size} bytes, {limit} expected at most"
    if wrong:
        os.close(descriptor)
        raise BundleError(wrong)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit + 1)


def _checked(path: Path, name: str, file: File) -> bytes:
    """Return the bytes of a file after comparing size and hash."""
    content = _read(path, name, file.size)
    if len(content) != file.size:
        message = f"bundle {path}: {name} has {len(content)} bytes, {MANIFEST} says {file.size}; copy the bundle again"
        raise BundleError(message)
    if hashlib.sha256(content).hexdigest() != file.sha256:
        message = f"bundle {path}: {name} is not the file that {MANIFEST} describes (SHA-256 differs); copy it again"
        raise BundleError(message)
    return content


def refuse_other(path: Path) -> None:
    """Refuse to write a bundle over something that is not one.

    Raises:
        BundleError: if `path` is a file, or a directory that holds something else than a bundle.
    """
    if path.is_dir() and not any(path.iterdir()):
        return
    if (path.exists() or path.is_symlink()) and not (path / MANIFEST).is_file():
        message = f"{path} exists and is no bundle: name another directory, or remove it"
        raise BundleError(message)


def make_room(path: Path) -> None:
    """Make the folder that a bundle at `path` lies in.

    Raises:
        BundleError: if that fails.
    """
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"bundle {path} cannot be written: {error.strerror}"
        raise BundleError(message) from None


@contextmanager
def workspace(path: Path) -> Iterator[Path]:
    """Give a new directory beside `path` to make a bundle in; it is gone afterwards, unless it was published.

    Raises:
        BundleError: if `path` holds something else, or its parent cannot be written.
    """
    refuse_other(path)
    make_room(path)
    try:
        folder = tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent)
    except OSError as error:
        message = f"bundle {path} cannot be written: {error.strerror}"
        raise BundleError(message) from None
    made = path.absolute().parent / folder
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def describe(folder: Path) -> dict[str, File]:
    """Return size and hash of every file in `folder` except the manifest, by name."""
    return {
        file.name: File(sha256=hashlib.sha256(file.read_bytes()).hexdigest(), size=file.stat().st_size)
        for file in sorted(folder.iterdir())
        if file.name != MANIFEST
    }


def publish(folder: Path, path: Path, manifest: Manifest) -> Bundle:
    """Write the manifest into `folder` and move it to `path`; a reader sees the old bundle, none, or the whole new one.

    Raises:
        BundleError: if the move fails; the bundle that was there stays.
    """
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    folder.chmod(0o755)  # a temporary directory is private, a bundle is for the service's user
    for file in folder.iterdir():
        _flush(file)
    _flush(folder)
    refuse_other(path)
    try:
        if path.is_symlink():
            path = path.resolve()
        if path.exists():
            with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.absolute().parent) as old:
                path.rename(f"{old}/old")
                folder.rename(path)
        else:
            folder.rename(path)
        _flush(path.absolute().parent)
    except OSError as error:
        message = f"bundle {path} cannot be written: {error.strerror}"
        raise BundleError(message) from None
    return read(path)


def _flush(path: Path) -> None:
    """Have the system write a file or directory to its disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

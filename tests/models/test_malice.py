"""Bundles that somebody has made to do harm: sizes and hashes are right, what is in the files is not."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bundle import MANIFEST, Bundle, BundleError, read
from models.serving import CALIBRATION, Model

ROOT = Path(__file__).parents[2]


class Payload:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        """Choose the mark."""
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        """Have it made by who unpickles this."""
        return Path.touch, (self._mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What a payload would leave behind."""
    return tmp_path / "mark"


@pytest.fixture
def forge(bundle: Bundle, tmp_path: Path) -> Callable[..., Path]:
    """Makes bundles whose manifest is right about a file that is not: `forge(name, content)`."""

    def make(name: str, content: bytes) -> Path:
        path = shutil.copytree(bundle.path, tmp_path / "forged", dirs_exist_ok=True)
        (path / name).write_bytes(content)
        manifest = json.loads((path / MANIFEST).read_text())
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        (path / MANIFEST).write_text(json.dumps(manifest))
        return path

    return make


def npz(**arrays: bytes) -> bytes:
    """Return an `.npz` file of raw entries."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in arrays.items():
            file.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def npy(array: Any) -> bytes:
    """Return an array as `.npy`."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def header(shape: str, descr: str = "'<f4'") -> bytes:
    """Return the beginning of an `.npy` file that says what it likes."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def _lying() -> bytes:
    """Return a zip whose directory says that an entry of 4 MB has 10 bytes."""
    content = bytearray(npz(windows=bytes(4 << 20)))
    size = (4 << 20).to_bytes(4, "little")
    return bytes(content.replace(size, (10).to_bytes(4, "little")))


BAD: dict[str, Callable[[Path], bytes]] = {
    "a pickle": lambda mark: pickle.dumps(Payload(mark)),
    "an array of objects": lambda mark: npz(windows=npy(np.array([Payload(mark)], object))),
    "a pickle in the archive": lambda mark: npz(windows=pickle.dumps(Payload(mark))),
    "no archive": lambda _: b"PK\x03\x04" + bytes(100),
    "nothing": lambda _: b"",
    "an archive cut short": lambda _: npz(windows=npy(np.zeros((40, 12, 2), np.float32)))[:-40],
    "no windows": lambda _: npz(other=npy(np.zeros(3))),
    "text": lambda _: npz(windows=npy(np.array(["a"]))),
    "one number": lambda _: npz(windows=npy(np.float32(1))),
    "other windows": lambda _: npz(windows=npy(np.zeros((40, 11, 2), np.float32))),
    "more than it holds": lambda _: npz(windows=header("(10**12, 12, 2)".replace("10**12", str(10**12)))),
    "a negative shape": lambda _: npz(windows=header("(-1, 12, 2)") + bytes(96)),
    "an endless header": lambda _: npz(windows=header("(" + "1, " * 30 + ")")[:10] + b"(" * 60_000),
    "a size that is a lie": lambda _: _lying(),
}


@pytest.mark.parametrize("name", BAD)
def test_a_calibration_that_is_none(forge: Callable[..., Path], mark: Path, name: str) -> None:
    """If it failed, who can write a bundle could run code in the daemon, or end it in a traceback."""
    path = forge(CALIBRATION, BAD[name](mark))
    with pytest.raises(BundleError, match=CALIBRATION) as caught:
        Model(read(path))
    assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"\x08\x07", b"\xff" * 1_000, pickle.dumps([1]), b"PK\x03\x04"])
def test_a_graph_that_is_none(forge: Callable[..., Path], content: bytes) -> None:
    """If it failed, a damaged graph would end the daemon in a traceback."""
    with pytest.raises(BundleError, match="cannot load the graph") as caught:
        Model(read(forge("model.onnx", content)))
    assert "\n" not in str(caught.value)


def test_a_graph_reads_no_other_file(
    forge: Callable[..., Path], bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it failed, a bundle could draw files of the machine into its figures."""
    onnx = pytest.importorskip("onnx")
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(1 << 20))
    monkeypatch.chdir(tmp_path)
    for location in ("secret", "../secret", str(secret)):
        graph = onnx.load_model_from_string(bundle.content("model.onnx"))
        tensor = max(graph.graph.initializer, key=lambda each: len(each.raw_data))
        size = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", str(size))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        with pytest.raises(BundleError, match=r"\S"):
            Model(read(forge("model.onnx", graph.SerializeToString())))


SERVE = """
import resource, sys
from pathlib import Path
from models.bundle import BundleError, read
from models.serving import Model
import onnxruntime
def watch(event, arguments):
    if event in {"pickle.find_class", "os.system", "subprocess.Popen"} and armed:
        print(event, arguments)
armed = False
sys.addaudithook(watch)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
armed = True
try:
    model = Model(read(Path(sys.argv[1])))
except BundleError as error:
    print(error)
armed = False
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
print("keras" in sys.modules, "tensorflow" in sys.modules)
"""


def served(path: Path) -> list[str]:
    """Load a bundle in a process of its own; return what it prints."""
    command = [sys.executable, "-c", SERVE, str(path)]
    return subprocess.run(command, capture_output=True, check=True, text=True, cwd=ROOT).stdout.splitlines()


def test_a_bomb_of_arrays_is_refused(forge: Callable[..., Path]) -> None:
    """If it failed, a small bundle could fill the memory of the machine."""
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file, file.open("windows.npy", "w") as entry:
        entry.write(header("(2000000, 12, 2)"))
        for _ in range(180):
            entry.write(bytes(1 << 20))
    said, grown, _ = served(forge(CALIBRATION, bomb.getvalue()))
    assert "calibration.npz cannot be read" in said
    assert int(grown) < 120_000  # kB, most of them ONNX Runtime's


def test_keras_files_are_never_opened_to_serve(forge: Callable[..., Path], mark: Path) -> None:
    """If it failed, code in a Keras file (a Lambda layer, a pickle) would run where the model is served."""
    lambda_layer = {"class_name": "Lambda", "config": {"function": ["4wEAAAA=", None, None]}}
    evil = io.BytesIO()
    with zipfile.ZipFile(evil, "w") as file:
        file.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {"layers": [lambda_layer]}}))
        file.writestr("model.weights.h5", pickle.dumps(Payload(mark)))
    for name in ("autoencoder.keras", "encoder.keras", "decoder.keras"):
        path = forge(name, evil.getvalue())
    *events, _, modules = served(path)
    assert events == []
    assert modules == "False False"
    assert not mark.exists()


def sources() -> Iterator[tuple[str, ast.AST]]:
    """Yield every node of the product's source with its place."""
    for package in ("models", "monitor"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node


def test_nothing_is_ever_unpickled() -> None:
    """If it failed, what is read from a file or a topic could be code."""
    modules = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}
    calls = {"load_model", "eval", "exec", "loads_pickle", "read_pickle", "unsafe_load", "full_load"}
    found = []
    for place, node in sources():
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [each.name.partition(".")[0] for each in node.names if each.name.partition(".")[0] in modules]
        elif isinstance(node, ast.ImportFrom):
            names = [name for name in [(node.module or "").partition(".")[0]] if name in modules]
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            allowed = [each for each in node.keywords if each.arg == "allow_pickle"]
            names = [name] if name in calls else []
            names += ["allow_pickle" for each in allowed if getattr(each.value, "value", True) is not False]
        found += [f"{place}: {name}" for name in names]
    assert found == []

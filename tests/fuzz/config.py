"""Configurations: YAML that somebody has typed, generated, or pasted; and `--set`."""

from __future__ import annotations

import re
import shutil
import weakref
from pathlib import Path
from random import Random
from tempfile import mkdtemp

from monitor.config import ConfigError, load
from monitor.window import WindowSettings
from tests.fuzz.noise import TEXTS, damaged, number

ROOT = Path(__file__).parents[2]
SECRET = "open-sesame-5151"  # noqa: S105 - what must never be in an error
VALUES = (
    "null", "~", "true", "no", "1e-3", "012", "0x1f", "12:30", ".inf", ".nan", "1" * 5_000, "-5s", "5", "5s", "1e400d",
    "''", '"a', "[a, b]", "{a: b}", "[[[]]]", "&a [x]", "*a", "!!python/object/apply:os.system [id]", "!!binary AA==",
    "!!set {a}", "|\n    a\n    b", "2026-11-21", "<<", "? a", "@", "`", "\t", "- a", "#", "kafka", "jsonl", "p2", "{}",
)  # fmt: skip
_LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{inner}: &{inner} [*{outer}, *{outer}, *{outer}, *{outer}, *{outer}, *{outer}, *{outer}, *{outer}]\n"
    for outer, inner in zip("abcdefghij", "bcdefghijk", strict=True)
)
BOMBS = (
    *(f"{_LAUGHS}{key}: *k\n" for key in ("sink", "source", "record", "train", "log", "threshold")),
    f"{_LAUGHS}source: {{type: kafka, group_id: g, topics: *k}}\n",
    f"{_LAUGHS}record: {{select: {{include: *k}}, max_streams: *k}}\n",
    "a: &a {x: 1}\nsource: &b\n  <<: *a\n  type: *a\n",
    "record: &r {select: {include: *r}}\n",
    "sink: &a [*a]\n",
    "source: &a\n  type: *a\n",
    "- " * 2_000,
    "{" * 20_000,
    "sink: " + "[" * 20_000,
    "a: " * 500,
    "? " * 500,
    "!" * 5_000,
    "&a " * 500,
    "|\n" * 500,
)


class Configuration:
    """Documents made of parts of good ones."""

    name = "config"

    def __init__(self) -> None:
        """Read the good ones."""
        folder = Path(mkdtemp(prefix="tidegauge-fuzz-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._path = folder / "config.yaml"
        example = (ROOT / "config.example.yaml").read_text()
        plain = "\n".join(re.sub(r"\s+#.*| *#.*", "", line) for line in example.splitlines())
        self._sections = [part for part in re.split(r"\n(?=\w)", plain) if ":" in part]
        others = [
            re.sub(r"^# ?", "", part, flags=re.MULTILINE)
            for part in re.findall(r"(?:^#[ ].*\n)+", example, re.MULTILINE)
        ]
        self._sections += [re.sub(r"\s+#.*", "", part) for part in others if re.match(r"\w+:\s*\n", part)]
        self._whole = [path.read_text() for path in sorted((ROOT / "tests" / "data" / "config").glob("*.yaml"))]
        keys = re.findall(r"^ {2,6}(\w+):", example, re.MULTILINE)
        self._keys = sorted({*keys, "source.type", "window.length", "record.select.include", "train.options.x", "sink"})

    def one(self, random: Random) -> str:
        """Load a document; return whether it was taken."""
        data = self._document(random)
        self._path.write_bytes(data)
        overrides = [self._override(random) for _ in range(random.choice((0, 0, 0, 1, 2)))]
        try:
            config = load(self._path, overrides)
        except ConfigError as error:
            text = str(error)
            assert text
            assert len(text) < 200_000
            assert SECRET not in text or f"password: {SECRET}".encode() not in data  # it was no secret any more
            return "refused"
        assert SECRET not in repr(config)
        assert len(config.sha256(WindowSettings())) == 64
        config.secrets()
        return "taken"

    def _document(self, random: Random) -> bytes:
        draw = random.randrange(20)
        if draw == 0:
            return random.choice(BOMBS).encode()
        if draw == 1:
            return random.randbytes(random.randrange(100))
        text = (
            random.choice(self._whole)
            if draw < 6
            else "\n".join(self._section(random) for _ in range(random.choice((1, 1, 2))))
        )
        if random.randrange(4) == 0:
            text += f"\nsource: {{type: kafka, topics: [a], group_id: g, sasl_plain_password: {SECRET}}}\n"
        data = text.encode()
        return damaged(random, data) if random.randrange(4) == 0 else data

    def _section(self, random: Random) -> str:
        """Draw a section, with some lines changed."""
        lines = random.choice(self._sections).splitlines()
        head, body = lines[:1], lines[1:]
        if len(body) > 8:
            body = [line for line in body if random.randrange(3) == 0]
        for _ in range(random.choice((0, 1, 1, 2))):
            if not body:
                break
            at = random.randrange(len(body))
            key, colon, _ = body[at].partition(":")
            match random.randrange(6):
                case 0:
                    del body[at]
                case 1:
                    body.insert(at, body[at])
                case 2:
                    body[at] = random.choice((" ", "\t", "  ")) + body[at]
                case 3:
                    body[at] = f"{key}{random.choice(TEXTS)[:40]}{colon} 1"
                case _:
                    body[at] = f"{key}: {random.choice((*VALUES, str(number(random))))}"
        return "\n".join([*head, *body])

    def _override(self, random: Random) -> str:
        value = random.choice((*VALUES, *(text[:100] for text in TEXTS), str(number(random))))
        return f"{random.choice((*self._keys, '', '.', 'a..b', 'window'))}{random.choice(('=', '=', '=', ''))}{value}"

"""The layout of a record as a msgspec type, made from the settings and the names of the features.

Where the fields lie is configurable, so the type is built at start: nested structs along the dotted paths. Decoding
into it checks types and skips what is not asked for, in C.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from monitor.record import RecordSettings

_Tree = dict[str, Any]
_UNKNOWN = re.compile(r"^Object contains unknown field `(.*?)`(?: - at .*)?$", re.DOTALL)
_UNFIT = re.compile(r'["\\\x00-\x1f]')
MOST_EXTRAS = 64


class Layout:
    """How one shape of record is decoded.

    Attributes:
        decode: bytes → struct.
        struct: the type of these structs.
        stream: struct → stream id, or None.
        time: struct → time, or None.
        sensor: struct → sensor's name, or None (long layout).
        values: struct → tuple of the features' values, in order.
        extras: names of fields beside the features that records have had; their values are not looked at.
    """

    def __init__(
        self, settings: RecordSettings, features: Sequence[str], extras: Sequence[str] = (), *, strict: bool = True
    ) -> None:
        """Build the type.

        Args:
            settings: section `record`.
            features: names, in order.
            extras: names of unknown fields that were met before.
            strict: whether another unknown field beside the features is an error, by which its name is learned.

        Raises:
            ValueError: if two settings name the same field, or a feature has a name that no field can have.
        """
        self._settings, self._features = settings, tuple(features)
        self.extras = tuple(extras)
        tree: _Tree = {}
        stream = _place(tree, settings.stream, (str | int | None, None))
        time = _place(tree, settings.time, (str | int | float | None, None))
        self.sensor: Callable[[Any], Any] | None = None
        self.values: Callable[[Any], Any]
        parent: tuple[str, ...] = ()
        where: tuple[str, ...] | None
        if settings.layout == "long":
            self.sensor = attrgetter(_place(tree, settings.sensor, (str | None, None)))
            self.values = attrgetter(_place(tree, settings.value, (float | None, None)))
            where = None
        else:
            unfit = next((name for name in features if not fit_name(name)), None)
            if unfit is not None:
                message = (
                    f"no feature can be called {unfit!r}: quotes, backslashes and control characters are not for names"
                )
                raise ValueError(message)
            paths = [(*settings.values.split("."), name) if settings.values else (name,) for name in features]
            places = [_place(tree, path, (float | None, None)) for path in paths]
            parent = tuple(settings.values.split(".")) if settings.values else ()
            for name in self.extras:
                _place(tree, (*parent, name), (msgspec.Raw, msgspec.Raw()))
            getter: Callable[[Any], Any] = attrgetter(*places)
            self.values = getter if len(places) > 1 else lambda struct: (getter(struct),)
            where = parent if strict else None
        self.stream, self.time = attrgetter(stream), attrgetter(time)
        # Where the features have an object to themselves, the whole of it is their values: that is faster.
        self._object = (
            attrgetter(_attribute_path(parent, tree))
            if where is not None and parent and not self.extras and list(_node(tree, parent)) == list(features)
            else None
        )
        struct = self.struct = _struct(tree, (), where)
        self.decode = _decoder(settings, struct)
        self._extra_values = (
            [attrgetter(_attribute_path((*parent, name), tree)) for name in self.extras]
            if settings.layout == "wide"
            else []
        )

    def rows(self, structs: Iterable[Any]) -> Iterator[tuple[float | None, ...]]:
        """Yield `values` of each struct."""
        if self._object is not None:
            return map(msgspec.structs.astuple, map(self._object, structs))
        return map(self.values, structs)

    def learn(self, name: str) -> Layout:
        """Return the layout that also lets an unknown field pass.

        Not every name can be learned: some are not allowed for a field (quotes, control characters), and one with a
        backtick may have been read wrongly off the error. Then, and when there are enough, every field passes from
        here on, and only those with the names learned before are still counted: what is ignored may stop nothing.
        """
        known = name in self.extras or name in self._features
        if not known and len(self.extras) < MOST_EXTRAS:
            try:
                return Layout(self._settings, self._features, (*self.extras, name))
            except ValueError:
                pass
        return Layout(self._settings, self._features, self.extras, strict=False)

    def unknown(self, struct: Any) -> int:  # noqa: ANN401 - a type that is made at run time
        """Return how many unknown features a record has."""
        return sum(1 for value in self._extra_values if bytes(value(struct)))


def stream_decoder(settings: RecordSettings) -> tuple[Callable[[bytes], Any], Callable[[Any], Any]]:
    """Return what reads nothing of a record but its stream id: bytes → struct, and struct → id or None."""
    tree: _Tree = {}
    getter = attrgetter(_place(tree, settings.stream, (str | int | None, None)))
    return _decoder(settings, _struct(tree, (), None)), getter


def _decoder(settings: RecordSettings, struct: type[msgspec.Struct]) -> Callable[[bytes], Any]:
    kind = msgspec.msgpack.Decoder if settings.codec == "msgpack" else msgspec.json.Decoder
    return kind(struct).decode


def fit_name(name: str) -> bool:
    """Return whether a field of a record may have this name; msgspec allows no other ones."""
    return _UNFIT.search(name) is None


def unknown_field(error: msgspec.ValidationError) -> str | None:
    """Return the name of the unknown field that an error is about, if it is about one."""
    match = _UNKNOWN.match(str(error))
    return match[1] if match else None


def _place(tree: _Tree, path: str | Sequence[str], leaf: tuple[Any, Any]) -> str:
    """Put a leaf (type, default) into the tree; return its attribute path.

    Raises:
        ValueError: if two settings want different things at one place.
    """
    parts = tuple(path.split(".")) if isinstance(path, str) else tuple(path)
    node = tree
    for part in parts[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            message = f"{'.'.join(parts)} lies inside a field that is itself a value"
            raise ValueError(message)  # noqa: TRY004 - a wrong setting, not a wrong type
    if parts[-1] in node:
        message = f"two settings of record, or a setting and a feature, name the same field {'.'.join(parts)}"
        raise ValueError(message)
    node[parts[-1]] = leaf
    return _attribute_path(parts, tree)


def _node(tree: _Tree, parts: Sequence[str]) -> _Tree:
    """Return the subtree at a path."""
    node = tree
    for part in parts:
        node = node[part]
    return node


def _attribute_path(parts: Sequence[str], tree: _Tree) -> str:
    """Return the path of a field in attribute names: the n-th field of each struct is `fn`."""
    names = []
    node: Any = tree
    for part in parts:
        names.append(f"f{list(node).index(part)}")
        node = node[part]
    return ".".join(names)


def _struct(tree: _Tree, path: tuple[str, ...], strict_at: tuple[str, ...] | None) -> type[msgspec.Struct]:
    """Make the struct of a node of the tree; the one at `strict_at` refuses unknown fields."""
    fields: list[Any] = []
    rename: dict[str, str] = {}
    for number, (name, node) in enumerate(tree.items()):
        attribute = f"f{number}"
        rename[attribute] = name
        if isinstance(node, dict):
            inner = _struct(node, (*path, name), strict_at)
            fields.append((attribute, inner, msgspec.field(default_factory=inner)))
        else:
            fields.append((attribute, *node))
    return msgspec.defstruct(
        "Record", fields, rename=rename, gc=False, forbid_unknown_fields=strict_at is not None and path == strict_at
    )

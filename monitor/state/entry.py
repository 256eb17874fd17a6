"""What stands in a log of state: deltas, images, META, and their format.

A state of one fleet has format 1. Where there are several, each entry says whose it is, and META has one of each.
"""

from __future__ import annotations

import msgspec

from monitor.identity import ALL
from monitor.state.rows import DamagedError, Packed, StateError
from monitor.state.stages import NAMES, Generation

FORMAT, FLEETS_FORMAT = 1, 2
"""Versions of the format: of a state of one fleet, and of several."""


class Streams(msgspec.Struct, array_like=True, gc=False):
    """Streams that came (with id and first offset) and slots that became free."""

    slots: list[int]
    ids: list[bytes]
    first: list[int]
    gone: list[int]


class Image(msgspec.Struct, array_like=True, gc=False):
    """All columns of a bucket's streams as of an input offset.

    The bucket is `size` slots from `bucket * size` on; those that have no stream in the image are free. Where one
    message cannot hold all rows, the rest follow it in entries of their own, under keys of the bucket's.
    """

    bucket: int
    size: int
    offset: int
    streams: Streams
    rows: Packed


class ModelMark(msgspec.Struct, gc=False, kw_only=True):
    """The model that the state's lines and alerts belong to: what an event says of it that another one resolves."""

    kind: str
    sha256: str
    length: int


class Meta(msgspec.Struct, gc=False, kw_only=True):
    """Where the state stands.

    Attributes:
        format: version of this format.
        next_offset: next input offset.
        input: the input topic's own id, where the cluster says it: another one is another topic of the same name.
        time: the partition's time.
        leaders: (latest time, slot) of its leading streams.
        counts: records by class since the state began.
        pending: records that wait, in no class yet.
        live: live streams.
        bucket: slots in a bucket.
        needed: the lowest input offset that a restore reads.
        log: where in the log a restore begins: where the last whole sweep began.
        turn: where in the log the present sweep began.
        cycle: number of the sweep.
        swept: buckets that this sweep has rewritten.
        deltas: delta keys that this sweep has used.
        stages: what wrote the columns of each stage.
        model: the present bundle's model.
        bundles: hashes of the bundles that the state has had, the present one last, each with the offset at which it
            came.
        configs: the same of the last configurations.
        versions: versions of the libraries that decide the last bit.
        barred: offsets from `needed` on of records that the process died of: no restore may decode them.
    """

    format: int = FORMAT
    next_offset: int
    input: str | None
    time: int
    leaders: list[tuple[int, int]]
    counts: dict[str, int]
    pending: int
    live: int
    bucket: int
    needed: int
    log: int
    turn: int
    cycle: int
    swept: int
    deltas: int
    stages: dict[str, Generation]
    model: ModelMark
    bundles: list[tuple[str, int]]
    configs: list[tuple[str, int]]
    versions: dict[str, str]
    barred: list[int] = []


class Metas(Meta, gc=False, kw_only=True):
    """Where the state of several fleets stands: all of it together, and each fleet's own.

    What cannot be put together (leaders, stages, buckets, sweeps, model and its history) is the first fleet's.
    """

    fleets: dict[str, Meta]


class Entry(msgspec.Struct, gc=False):
    """A value of the log: one of its members is set.

    `rows` are decision columns, `rest` all columns of streams for which their image has no room.
    """

    v: int = FORMAT
    streams: Streams | None = None
    rows: Packed | None = None
    image: Image | None = None
    rest: Packed | None = None
    meta: Meta | None = None


class FleetEntry(Entry, gc=False, kw_only=True):
    """A value of the log of several fleets: whose it is; META is of all of them."""

    v: int = FLEETS_FORMAT
    meta: Metas | None = None
    fleet: str = ""


_decode = msgspec.msgpack.Decoder(Entry).decode
_decode_fleets = msgspec.msgpack.Decoder(FleetEntry).decode
_decode_version = msgspec.msgpack.Decoder(dict[str, object]).decode


def read_entry(value: bytes) -> Entry:
    """Return an entry of the log.

    Raises:
        StateError: if it is damaged, or of another format.
    """
    try:
        entry = _decode(value)
        if entry.v == FLEETS_FORMAT:
            entry = _decode_fleets(value)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        _check_format(value)
        message = f"{error}"
        raise DamagedError(message) from None
    version = entry.v if entry.meta is None else entry.meta.format
    for found in (entry.v, version):
        if found not in {FORMAT, FLEETS_FORMAT}:
            raise _other_format(found)
    return entry


def read_meta(value: bytes) -> Meta:
    """Return the META of an entry.

    Raises:
        StateError: if it is damaged, of another format, or none.
    """
    meta = read_entry(value).meta
    known = [] if meta is None else [meta, *fleets_of(meta).values()]
    if meta is None or any(not each.bundles or set(each.stages) != set(NAMES) for each in known):
        message = "its META says nothing"
        raise DamagedError(message)
    return meta


def fleets_of(meta: Meta) -> dict[str, Meta]:
    """Return where each fleet stands by its pattern, in their order; a state of one fleet is that of all streams."""
    return meta.fleets if isinstance(meta, Metas) else {ALL: meta}


def _check_format(value: bytes) -> None:
    """Raise if bytes that cannot be read are of another format: that is the better reason."""
    try:
        version = _decode_version(value).get("v")
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return
    if version not in (FORMAT, FLEETS_FORMAT):  # no set: what it holds may be a list
        raise _other_format(version)


def _other_format(version: object) -> StateError:
    known = f"{FORMAT} and {FLEETS_FORMAT}"
    return StateError(
        f"the state has format {str(version)[:20]}, and this version reads {known}: run the version that wrote it"
    )

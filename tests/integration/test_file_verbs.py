"""An operator's verbs over the state of files: looked at, saved, and gone on from, while the daemon runs and after."""

from __future__ import annotations

import json
from pathlib import Path

from models.bundle import Bundle
from tests.integration.daemon import Daemon, until
from tests.integration.recording import config, lines
from tests.integration.verbs import verb

ROWS, LATER = 120, 80


def test_state_in_a_directory_is_looked_at_and_saved(bundle: Bundle, tmp_path: Path) -> None:
    """If it failed, nobody could see what is known of a stream of files, or try a change from where production is."""
    recording = [f"{line}\n" for line in lines(ROWS + LATER)]
    whole, alerts = tmp_path / "in.jsonl", tmp_path / "alerts.jsonl"
    whole.write_text("".join(recording[: 3 * ROWS]))
    settings = config(bundle, tmp_path)
    path = tmp_path / "tidegauge.yaml"
    path.write_text(json.dumps(settings))
    none = verb("state", "inspect", path)
    assert (none.status, "there is no state" in none.err, none.err.count("\n")) == (78, True, 1)
    with Daemon(tmp_path / "one", settings) as daemon:
        assert daemon.ended() == 0
    found = verb("state", "inspect", path, "--json").json
    (partition,) = found["partitions"]
    assert found["state"] == str(tmp_path / "state")
    assert (partition["topic"], partition["group_offset"], partition["input"]) == ("in.jsonl", 3 * ROWS, None)
    assert (partition["state"]["offset"], partition["state"]["streams"]) == (3 * ROWS, 3)
    assert f"offset {3 * ROWS}" in verb("state", "inspect", path).out
    (row,) = verb("state", "inspect", path, "--stream", "pump-1", "--json").json["rows"]
    assert (row["window"]["fill"], row["alert"]["scored"] > 0, "windows_lost" in row) == (1.0, True, False)
    assert verb("state", "inspect", path, "--topic", "other").status == 2
    assert verb("state", "inspect", path, "--stream", "pump-9").status == 1
    saved = verb("state", "export", path, "--out", tmp_path / "saved", "--json").json
    assert [(part["offset"], part["streams"]) for part in saved["partitions"]] == [(3 * ROWS, 3)]
    before = alerts.stat().st_size
    settings["source"]["follow"] = True
    path.write_text(json.dumps(settings))
    with Daemon(tmp_path / "two", settings) as daemon:
        with whole.open("a") as file:
            file.writelines(recording[3 * ROWS :])
        until(lambda: daemon.consumed() == 3 * LATER, "the rest is not processed")
        until(
            lambda: _offset(path) == 3 * (ROWS + LATER), "the state does not come after"
        )  # the daemon has the directory
        again = verb("state", "export", path, "--out", tmp_path / "later", "--json").json
        assert again["partitions"][0]["offset"] == 3 * (ROWS + LATER)
        assert daemon.stop()[0] == 0
    options = ("--config", path, "--state", tmp_path / "saved", "--out", tmp_path / "replayed.jsonl")
    assert verb("replay", whole, *options).status == 0
    wanted = alerts.read_bytes()[before:]
    assert (tmp_path / "replayed.jsonl").read_bytes() == wanted
    assert wanted


def test_where_no_state_is_kept(bundle: Bundle, tmp_path: Path) -> None:
    """If it failed, the verbs would look into a directory that has nothing to do with the input."""
    (tmp_path / "in.jsonl").write_text("")
    path = tmp_path / "tidegauge.yaml"
    path.write_text(json.dumps({**config(bundle, tmp_path), "state": {"type": "none"}}))
    for found in (verb("state", "inspect", path), verb("state", "export", path, "--out", tmp_path / "saved")):
        assert (found.status, "state.type is none" in found.err) == (78, True)


def _offset(path: Path) -> int:
    """Return where the state stands."""
    found: int = verb("state", "inspect", path, "--json").json["partitions"][0]["state"]["offset"]
    return found

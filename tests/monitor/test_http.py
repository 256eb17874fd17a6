"""Health and metrics over real sockets, with clients that behave and clients that do not."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import ValidationError

from monitor.http import Health, HttpError, HttpServer, HttpSettings
from monitor.metrics import Metrics


@pytest.fixture
def health() -> Health:
    """Health that counts as stuck after 0.2 s without a beat."""
    return Health(stall_after=0.2)


@pytest.fixture
def server(health: Health) -> Iterator[HttpServer]:
    """A server on a free port."""
    with HttpServer(HttpSettings(), Metrics(["sensors"]), health) as found:
        yield found


def ask(server: HttpServer, path: str, method: str = "GET") -> tuple[int, str, dict[str, str]]:
    """Return status, body and headers of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.headers)
    finally:
        connection.close()


def raw(server: HttpServer, request: bytes) -> bytes:
    """Send bytes and return what comes back until the connection closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        answer = b""
        with suppress(ConnectionError):
            client.sendall(request)
            while more := client.recv(65_536):
                answer += more
        return answer


def test_live_while_the_loop_turns(server: HttpServer, health: Health) -> None:
    """A stuck loop must be restarted, and one that turns never."""
    for _ in range(5):
        health.beat()
        assert ask(server, "/livez")[:2] == (200, "ok\n")
        time.sleep(0.1)
    time.sleep(0.2)
    status, body, _ = ask(server, "/livez")
    assert status == 503
    assert body.startswith("the main loop has not turned for 0.")
    health.beat()
    assert ask(server, "/livez")[0] == 200


def test_ready_says_why_not(server: HttpServer, health: Health) -> None:
    """`kubectl get pods` shows 0/1: the reason must be a request away."""
    assert ask(server, "/readyz")[:2] == (503, "starting\n")
    health.ready = True
    assert ask(server, "/readyz")[:2] == (200, "ok\n")
    health.ready, health.reason = False, "draining"
    assert ask(server, "/readyz")[:2] == (503, "draining\n")


def test_metrics_are_prometheus_text(server: HttpServer) -> None:
    """Prometheus drops a scrape whose type it does not know."""
    status, body, headers = ask(server, "/metrics?x=1")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "\ntidegauge_windows_scored_total 0.0\n" in body


def test_head_has_no_body(server: HttpServer) -> None:
    """Load balancers probe by HEAD; a body would be taken for the next answer."""
    status, body, headers = ask(server, "/metrics", "HEAD")
    assert (status, body) == (200, "")
    assert int(headers["Content-Length"]) > 1_000


@pytest.mark.parametrize("path", ["/", "/metrics/", "/livez/x", "/debug", "/..%2f"])
def test_nothing_else_is_there(server: HttpServer, path: str) -> None:
    """Whatever else is served would have to be guarded."""
    assert ask(server, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "X"])
def test_nothing_can_be_changed(server: HttpServer, method: str) -> None:
    """The port needs no password because it only tells."""
    status, _, headers = ask(server, "/livez", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_nonsense_is_refused_and_not_repeated(server: HttpServer) -> None:
    """What came must not come back: it could be a script for the browser that shows it."""
    answer = raw(server, b"<script>alert(1)</script> x y z\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 400 Bad Request")
    assert b"script" not in answer
    assert b"Python" not in answer


@pytest.mark.parametrize(
    "request_", [b"GET /" + b"a" * 100_000, b"GET /livez HTTP/1.1\r\n" + b"X: y\r\n" * 20_000, b"\xff" * 20_000]
)
def test_a_request_has_a_size(server: HttpServer, request_: bytes) -> None:
    """A request without an end must not fill the memory of the daemon."""
    answer = raw(server, request_)
    assert answer == b"" or answer.startswith(b"HTTP/1.0 431 ")
    assert ask(server, "/livez")[0] in {200, 503}


def test_a_slow_client_is_cut_off(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends a byte a second would hold a thread for ever; all of it has one deadline."""
    monkeypatch.setattr("monitor.http._READ_SECONDS", 0.5)
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client, suppress(ConnectionError):
        while time.monotonic() - start < 5.0:
            client.sendall(b"G")
            client.settimeout(0.1)
            with suppress(TimeoutError):
                if client.recv(1) == b"":
                    break
    assert time.monotonic() - start < 3.0


def test_idle_connections_have_a_bound_and_keep_no_probe_out(server: HttpServer) -> None:
    """Threads are memory; and a probe that is not answered is a restart, by whoever can open a few connections."""
    before = threading.active_count()
    clients = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(100)]
    time.sleep(0.3)
    assert threading.active_count() - before <= 33
    for _ in range(50):
        assert ask(server, "/readyz")[0] == 503
        clients.append(socket.create_connection(("127.0.0.1", server.port), timeout=10))
    for client in clients:
        client.close()
    deadline = time.monotonic() + 10.0
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before
    assert server._server._open == []


def test_a_client_that_does_not_read_is_cut_off(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks and never takes the answer would hold a thread for ever."""
    monkeypatch.setattr("monitor.http._READ_SECONDS", 0.3)
    monkeypatch.setattr(server._server.metrics, "render", lambda: bytes(64 << 20))
    before = threading.active_count()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        time.sleep(0.1)
        assert threading.active_count() > before
        deadline = time.monotonic() + 10.0
        while threading.active_count() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert threading.active_count() <= before


def test_no_socket_stays_open(server: HttpServer) -> None:
    """A probe each few seconds for a year: a descriptor each would end the daemon in an hour."""
    ask(server, "/livez")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        ask(server, "/metrics")
    time.sleep(0.1)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2


def test_a_port_in_use_is_one_line(server: HttpServer, health: Health) -> None:
    """Two instances on one host is the commonest mistake; the setting must be named."""
    with pytest.raises(HttpError) as caught:
        HttpServer(HttpSettings(port=server.port), Metrics(), health)
    assert str(caught.value) == (
        f"http.port: cannot listen on 127.0.0.1:{server.port}: Address already in use: "
        "set another http.port (0 = any free one) or http.host"
    )


def test_a_host_that_is_none_is_one_line(health: Health) -> None:
    """A typing error in http.host must not be a traceback."""
    with pytest.raises(HttpError, match=r"^http.port: cannot listen on no-such-host.invalid:0: .*http.host$"):
        HttpServer(HttpSettings(host="no-such-host.invalid"), Metrics(), health)


def test_close_is_quick_and_frees_the_port(health: Health) -> None:
    """SIGTERM has ten seconds for all; and the next start needs the port."""
    server = HttpServer(HttpSettings(), Metrics(), health)
    with socket.create_connection(("127.0.0.1", server.port)):  # a client that never asks
        time.sleep(0.05)
        start = time.monotonic()
        server.close()
        server.close()
        assert time.monotonic() - start < 0.5
    HttpServer(HttpSettings(port=server.port), Metrics(), health).close()


def test_it_listens_on_loopback_unless_told(server: HttpServer) -> None:
    """Metrics tell of a plant; who wants them on the network says so."""
    assert server.host == "127.0.0.1"


def test_ipv6(health: Health) -> None:
    """`host: "::1"` is an address as good as any."""
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    with HttpServer(HttpSettings(host="::1"), Metrics(), health) as server:
        connection = http.client.HTTPConnection("::1", server.port, timeout=10)
        connection.request("GET", "/metrics")
        assert connection.getresponse().status == 200
        connection.close()


def test_settings_are_strict() -> None:
    """A port out of range must be refused with the configuration."""
    for given in ({"port": 70_000}, {"host": ""}, {"prot": 1}):
        with pytest.raises(ValidationError):
            HttpSettings.model_validate(given)

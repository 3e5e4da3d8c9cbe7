"""Who may talk to the page: ports, names, origins; with the real server on a real socket."""

import asyncio
import socket
import urllib.error
import urllib.request

import pytest
import viser
import websockets
import websockets.asyncio.server

from govnesf_ros.viewer_server import (
    ServerProblem,
    free_port,
    open_server,
    own_names,
    refusal,
)

NAMES = own_names("127.0.0.1", ["Robot-7.example"])
SUBPROTOCOL = websockets.Subprotocol(f"viser-v{viser.__version__}")


@pytest.fixture(scope="module")
def server():
    server = open_server("127.0.0.1", 0, label="test")
    yield server
    server.stop()


def connect(server, origin: str | None, host: str | None = None) -> int:
    """Open a WebSocket as a browser would; return the HTTP status, 101 for accepted."""

    async def attempt() -> int:
        options = {"origin": origin, "subprotocols": [SUBPROTOCOL]}
        if host is not None:
            options |= {"host": "127.0.0.1", "port": server.get_port()}
        name = host or f"127.0.0.1:{server.get_port()}"
        try:
            async with websockets.connect(f"ws://{name}/", proxy=None, **options):
                return 101
        except websockets.exceptions.InvalidStatus as error:
            return error.response.status_code

    return asyncio.run(attempt())


def get(server, host: str):
    request = urllib.request.Request(server.url, headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, dict(response.headers), response.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


@pytest.mark.parametrize(
    ("host", "origin", "connects", "words"),
    [
        ("127.0.0.1:8080", None, False, ""),
        ("localhost:8080", "http://localhost:8080", True, ""),
        ("[::1]:8080", "http://[::1]:8080", True, ""),
        ("192.168.1.7:8080", "http://192.168.1.7:8080", True, ""),
        ("robot-7.example", "https://robot-7.example", True, ""),
        ("evil.example:8080", "http://evil.example:8080", True, "not served as 'evil.example'"),
        ("evil.example:8080", None, False, "not served as 'evil.example'"),
        ("127.0.0.1:8080", "http://evil.example", True, "not from 'http://evil.example'"),
        ("127.0.0.1:8080", "http://127.0.0.1:9090", True, "not from"),
        ("127.0.0.1:8080", "null", True, "not from 'null'"),
        ("127.0.0.1:8080", None, True, "not from 'no page'"),
        (None, None, False, "not served as 'nothing'"),
        ("127.0.0.1:80; script-src *", None, False, "not served"),
        ("", "http://", True, "not served"),
    ],
)
def test_only_our_names_and_our_page(host, origin, connects, words) -> None:
    reason = refusal(host, origin, connects, NAMES)
    assert words in reason
    assert bool(words) == bool(reason)


def test_our_page_is_served_and_may_load_nothing_from_elsewhere(server) -> None:
    status, headers, body = get(server, f"127.0.0.1:{server.get_port()}")
    assert status == 200
    assert b"<html" in body[:2000].lower()
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert f"ws://127.0.0.1:{server.get_port()}" in policy


def test_a_foreign_name_gets_a_sentence(server) -> None:
    status, _, body = get(server, "rebound.example")
    assert status == 403
    assert b"allowed_hosts" in body


def test_connections_of_our_page_alone_are_accepted(server) -> None:
    port = server.get_port()
    assert connect(server, f"http://127.0.0.1:{port}") == 101
    assert connect(server, f"http://localhost:{port}", host=f"localhost:{port}") == 101
    assert connect(server, "http://evil.example") == 403
    assert connect(server, f"http://localhost:{port}") == 403
    assert connect(server, None) == 403


def test_the_check_stays_with_our_server(server) -> None:
    assert websockets.asyncio.server.serve is websockets.serve


def test_nothing_is_shared_with_the_internet(server) -> None:
    assert server.request_share_url() is None


def test_it_listens_at_loopback_alone(server) -> None:
    own = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in own - {"127.0.0.1"}:
        with socket.socket() as probe:
            probe.settimeout(2.0)
            assert probe.connect_ex((address, server.get_port())) != 0, address


def test_a_taken_port_gives_the_next_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < free_port("127.0.0.1", port) <= port + 20


def test_no_port_at_all_is_a_sentence(monkeypatch) -> None:
    monkeypatch.setattr("govnesf_ros.viewer_server.PORTS_TRIED", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServerProblem, match="all taken"):
            free_port("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("host", ["203.0.113.9", "no such host"])
def test_an_address_that_is_not_ours_is_a_sentence(host) -> None:
    with pytest.raises(ServerProblem, match=r"cannot listen at .* Use 127.0.0.1"):
        free_port(host, 8080)

"""The page's web server: viser, for this machine's own browsers unless the user says otherwise.

    server = open_server("127.0.0.1", 8080)
    server.url                                  # http://127.0.0.1:8080

viser serves whoever asks. Any site that the user visits could ask, from the user's own browser: so
every request must name a host that is ours, and every connection must come from our own page.
"""

import contextlib
import errno
import io
import ipaddress
import socket
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import viser
import websockets.asyncio.server

PORTS_TRIED = 20  # from the wanted one on, when it is taken


class ServerProblem(OSError):
    """The page cannot be served; the message is a sentence for the user."""


class PageServer(viser.ViserServer):
    """A viser server that answers its own page alone.

    Args:
        host: address to listen at.
        port: to listen at; it must be free.
        names: further names that this machine is called by in browsers.
        label: title of the panel.
    """

    def __init__(self, host: str, port: int, names: Iterable[str], label: str) -> None:
        # viser prints a box about itself; the node says the address in one line.
        with _checked(own_names(host, names)), contextlib.redirect_stdout(io.StringIO()):
            super().__init__(host=host, port=port, label=label, verbose=False)
        shown = "localhost" if host in ("0.0.0.0", "::") else host
        self.url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"

    def request_share_url(self, verbose: bool = True) -> None:
        """Share nothing: viser would hand the page to a relay on the internet."""

    def stop(self) -> None:
        """Stop serving, without viser's word about it."""
        with contextlib.redirect_stdout(io.StringIO()):
            super().stop()


def open_server(host: str, port: int, names: Iterable[str] = (), label: str = "") -> PageServer:
    """Serve at a port, or at the next free one.

    Raises:
        ServerProblem: the address is not this machine's, or no port is free.
    """
    for _ in range(3):
        free = free_port(host, port)
        server = PageServer(host, free, names, label)
        if server.get_port() == free:
            return server
        server.stop()  # somebody took it in between: viser has gone on to another, unasked
    raise ServerProblem(f"port {port} of {host} is taken again and again: choose another one")


def free_port(host: str, port: int) -> int:
    """Return the port if it is free, or else the next free one; for 0 any.

    Raises:
        ServerProblem: the address is not this machine's, or none of the ports is free.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    last = min(port + PORTS_TRIED, 65536) if port else 1
    for candidate in range(port, last):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
                return probe.getsockname()[1]
            except PermissionError as error:
                raise ServerProblem(
                    f"port {candidate} is for the administrator alone: choose one from 1024 on"
                ) from error
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise ServerProblem(
                        f"cannot listen at '{host}': {error.strerror or error}. Use 127.0.0.1 for "
                        "browsers on this machine, 0.0.0.0 for those of the network"
                    ) from error
    raise ServerProblem(
        f"ports {port} to {last - 1} of {host} are all taken: end what listens there, or choose "
        "another one with the parameter port"
    )


def own_names(host: str, names: Iterable[str] = ()) -> frozenset[str]:
    """Return the names under which browsers may know this machine, beside IP addresses."""
    own = socket.gethostname().lower()
    return frozenset({"localhost", host.lower(), own, f"{own}.local", *map(str.lower, names)})


def refusal(host: str | None, origin: str | None, connects: bool, names: Iterable[str]) -> str:
    """Return why a request is not answered, or an empty string.

    A foreign name in `Host` is a foreign site that made its name point here; a foreign `Origin` is
    a foreign site's script. An IP address in `Host` can be neither.

    Args:
        host: the request's header Host.
        origin: its header Origin.
        connects: whether it opens a WebSocket, which browsers allow across sites.
        names: that are ours, lower case.
    """
    name = _parse(host or "")[0]
    if not name or not (_is_address(name) or name in names):
        return (
            f"This page is not served as '{name or 'nothing'}'. Open it by address, or add the "
            "name to the viewer's parameter allowed_hosts."
        )
    if connects and (origin is None or urlsplit(origin).netloc.lower() != host.lower()):
        return f"Connections come from this page alone, not from '{origin or 'no page'}'."
    return ""


@contextlib.contextmanager
def _checked(names: Iterable[str]) -> Iterator[None]:
    """Put our check in front of the server that is made meanwhile.

    viser opens its socket with websockets' `serve` and has no place for a check of one's own.
    """
    plain = websockets.asyncio.server.serve

    def serve(*positional: Any, process_request: Any, **options: Any) -> Any:
        def check(connection: Any, request: Any) -> Any:
            # Only one of each: two headers could be read in two ways.
            host, origin = request.headers.get_all("Host"), request.headers.get_all("Origin")
            connects = "upgrade" in request.headers
            reason = refusal(
                host[0] if len(host) == 1 else None,
                origin[0] if len(origin) == 1 else None,
                connects,
                names,
            )
            if reason:
                return connection.respond(403, reason + "\n")
            response = process_request(connection, request)
            if response is not None:
                _protect(response.headers, _parse(host[0]))
            return response

        return plain(*positional, process_request=check, **options)

    websockets.asyncio.server.serve = serve
    try:
        yield
    finally:
        websockets.asyncio.server.serve = plain


def _protect(headers: Any, place: tuple[str, int | None]) -> None:
    """Let the page load nothing from elsewhere, and nobody show it inside a page of theirs."""
    name, port = place
    host = (f"[{name}]" if ":" in name else name) + (f":{port}" if port else "")
    headers["Content-Security-Policy"] = (
        "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; "
        f"connect-src 'self' ws://{host} wss://{host} data: blob:; frame-ancestors 'none'"
    )
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"


def _parse(host: str) -> tuple[str, int | None]:
    """Return name and port of a Host header; an empty name for one that cannot be read."""
    try:
        parts = urlsplit(f"//{host}")
        return (parts.hostname or "").lower(), parts.port
    except ValueError:
        return "", None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

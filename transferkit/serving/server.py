"""The socket of a server, and the process that answers on it."""

import errno
import ipaddress
import logging
import socket

import uvicorn

from transferkit.lookup import UnknownName

GRACE = 10  # seconds for the answers under way when the server is stopped
CONNECTIONS = 2000  # at once; others are answered with status 503
REASONS = {
    errno.EADDRINUSE: "the port is in use: give another --port, or 0 for any",
    errno.EACCES: "you lack the permission for the port: give a --port from 1024",
    errno.EADDRNOTAVAIL: "this machine does not have the address: give another --host, as 127.0.0.1",
}


def open_socket(host: str, port: int) -> socket.socket:
    """A socket at an address, which does not answer yet.

    Args:
        port: 0 for any that is free.

    Raises:
        UnknownName: the host has no address.
        OSError: the address is not free, or not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise UnknownName(f"--host {host} has no address: expected one of this machine, as 127.0.0.1.") from None
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError as error:
        opened.close()
        raise OSError(f"{host}:{port} cannot be served: {REASONS.get(error.errno or 0, error.strerror)}.") from None
    return opened


def is_loopback(opened: socket.socket) -> bool:
    """Whether only this machine reaches the address of a socket."""
    return ipaddress.ip_address(opened.getsockname()[0]).is_loopback


def find_url(opened: socket.socket) -> str:
    """The address of a socket, for a browser."""
    host, port = opened.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(app) -> uvicorn.Server:
    """A server of an application: silent, as what it would print of errors is no sentence."""
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            ws="none",
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=GRACE,
        )
    )

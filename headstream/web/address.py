"""Where the studio listens, who is let in, and what they open in their browsers."""

from __future__ import annotations

import errno
import ipaddress
import re
import secrets
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from headstream.errors import SinkError, UsageError

_LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]"})
_EVERYWHERE = frozenset({"0.0.0.0", "::"})
_OF_THE_PORT = {errno.EADDRINUSE, errno.EACCES}
_OWN_PORT = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Address:
    """Where a server listens. token: needed by visitors, None on this machine alone.  public: the origin of the proxy that
    stands before it, "" without one."""

    host: str
    port: int
    token: str | None
    public: str = ""

    @property
    def url(self) -> str:
        """What to open in a browser: the proxy's address, or else this machine's own."""
        return self._link(self.public or self.listens)

    @property
    def listens(self) -> str:
        """Where a proxy on this machine reaches it."""
        return self._origin("127.0.0.1" if self.host in _EVERYWHERE else self.host)

    @property
    def lan_url(self) -> str:
        """What others in the same network can open, where ``url`` is of no use to them; or ""."""
        if self.public or self.host not in _EVERYWHERE:
            return ""
        return self._link(self._origin(_lan_host(self.host)))

    def _origin(self, host: str) -> str:
        return f"http://{_bracketed(host)}:{self.port}"

    def _link(self, origin: str) -> str:
        return f"{origin}/" + (f"?token={self.token}" if self.token else "")


def bound(host: str, port: int, token: str | None, public_url: str | None = None) -> tuple[socket.socket, Address]:
    """A listening socket. Whoever lets others in needs a token for them. public_url: of the proxy in front.

    Raises UsageError, SinkError.
    """
    public = public_origin(public_url) if public_url is not None else ""
    local = host in {"127.0.0.1", "localhost", "::1"}
    if token is None and (public or not local):
        asked = f"--public-url {public_url}" if public else f"--host {host}"
        made = secrets.token_urlsafe(24)
        raise UsageError(f"{asked} lets others in: choose a token for them, for example --token {made}")
    # Whatever else there is has another form in an address or in a cookie.
    if token is not None and not re.fullmatch(r"[A-Za-z0-9._~-]{16,}", token):
        raise UsageError("--token must have at least 16 characters: letters without accents, digits, and . _ ~ -")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    # On Windows "reuse" would let another program take the port while it is in use.
    option = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
    listener.setsockopt(socket.SOL_SOCKET, option, 1)
    try:
        listener.bind((host, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        advice = "; choose another port" if error.errno in _OF_THE_PORT else ""
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            advice = "; choose another address: this machine has none like that"
        raise SinkError(f"cannot listen on {host}:{port}: {error.strerror}{advice}") from error
    return listener, Address(host, listener.getsockname()[1], token, public)


def public_origin(url: str) -> str:
    """A public address as browsers write it into Origin: scheme, host, and the port unless it is the scheme's own.

    Raises UsageError for anything that is more than that.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        host = _host(parts.hostname or "")
    except ValueError:
        host = ""
    more = host and (parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc)
    if not host or more or parts.scheme not in _OWN_PORT:
        raise UsageError(
            f"--public-url {url}: expected http:// or https:// and a host, like https://studio.example, with nothing "
            "behind it: the studio cannot be under a path; names with other letters than a to z as xn--..."
        )
    own = port is None or port == _OWN_PORT[parts.scheme]
    return f"{parts.scheme}://{host}" + ("" if own else f":{port}")


def _host(name: str) -> str:
    """A name or number as browsers write it. Raises ValueError."""
    if ":" in name and "%" not in name:
        return f"[{ipaddress.IPv6Address(name)}]"
    if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", name):
        raise ValueError(name)
    return name


def hosts_of(address: Address) -> frozenset[str]:
    """Names the server answers to, each with its own port."""
    if address.token is None:
        return _LOCAL
    return _LOCAL | {_bracketed(address.host), socket.gethostname(), f"{socket.gethostname()}.local"}


def public_hosts(address: Address) -> frozenset[str]:
    """What Host may say of the proxy's address: browsers leave the scheme's own port out, some proxies put it in."""
    scheme, _, host = address.public.partition("://")
    if not host:
        return frozenset()
    return frozenset({host}) if re.search(r":\d+$", host) else frozenset({host, f"{host}:{_OWN_PORT[scheme]}"})


def answers_to_numbers(address: Address) -> bool:
    """Whether it also answers to any number: this machine has several, and rebinding needs a name."""
    return address.token is not None and address.host in _EVERYWHERE


def _lan_host(host: str) -> str:
    """This machine's number towards the outside, or its name where there is no outside. Nothing is sent."""
    family, elsewhere = (socket.AF_INET6, "2001:db8::1") if ":" in host else (socket.AF_INET, "192.0.2.1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asked:  # connecting a datagram socket only chooses its route
            asked.connect((elsewhere, 9))
            return str(asked.getsockname()[0])
    except OSError:
        return socket.gethostname()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

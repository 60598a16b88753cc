"""A reverse proxy that has encryption, as stands before a studio that lets others in."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import re
import ssl
import threading
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def certificate(folder: Path, name: str) -> Path:
    """A self-signed one for a name and 127.0.0.1, with its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    owner = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(owner)
        .issuer_name(owner)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    kinds = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "proxy.pem"
    path.write_bytes(key.private_bytes(*kinds) + made.public_bytes(serialization.Encoding.PEM))
    return path


class TlsProxy:
    """Ends TLS on a free port of this machine and passes everything on. A context manager.

    host: what it writes into the Host of a connection's first request, as some proxies do unless told otherwise; None
    leaves there what the visitor sent.
    """

    def __init__(self, pem: Path, upstream_port: int, *, host: str | None = None) -> None:
        self._upstream_port, self._host = upstream_port, host
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(pem)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="headstream-test-proxy", daemon=True)

    def __enter__(self) -> TlsProxy:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._visit, "127.0.0.1", 0, ssl=self._tls)

    async def _end(self) -> None:
        self._server.close()
        visits = asyncio.all_tasks() - {asyncio.current_task()}
        for visit in visits:
            visit.cancel()
        await asyncio.gather(*visits, return_exceptions=True)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        try:
            if self._host is not None:
                head = await reader.readuntil(b"\r\n\r\n")
                outer.write(re.sub(rb"(?i)(\r\nhost:)[^\r]*", rb"\1 " + self._host.encode(), head, count=1))
            await asyncio.gather(_passed_on(reader, outer), _passed_on(inner, writer))
        except (OSError, EOFError):
            pass  # gone: so is the other side, below
        finally:
            for end in (outer, writer):
                with suppress(OSError):
                    end.close()


async def _passed_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(1 << 16):
        sink.write(piece)
        await sink.drain()
    sink.close()

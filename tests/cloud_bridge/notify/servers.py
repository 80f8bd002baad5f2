"""Real receivers of messages: mail servers (aiosmtpd) and an HTTP one, each as bad as it is told to be."""

import asyncio
import datetime as dt
import email
import email.policy
import socket
import ssl
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge_agent.demo.child import free_port


@dataclass
class Mailbox:
    """What a mail server took, and what it answers. ``rcpt`` and ``data`` give an answer, None: take it."""

    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    rcpt: Callable[[str], str | None] = lambda _address: None
    data: Callable[[bytes], str | None] = lambda _mail: None
    port: int = 0

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        self.asked.append(address)
        refusal = self.rcpt(address)
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        assert isinstance(content, bytes)
        answer = self.data(content)
        if answer == "hang":
            await asyncio.Event().wait()
        if answer == "taken, then gone":
            self._take(envelope, content)
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
            return ""
        if answer is not None:
            return answer
        self._take(envelope, content)
        return "250 taken"

    def _take(self, envelope: Envelope, content: bytes) -> None:
        self.recipients += envelope.rcpt_tos
        self.raw.append(content)
        mail = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    """A part of a mail as its reader sees it."""
    body = mail.get_body((kind,))
    assert body is not None
    text = body.get_content()
    assert isinstance(text, str)
    return text.replace("\r\n", "\n")


def check_login(
    _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, auth: Any
) -> AuthResult:
    good = isinstance(auth, LoginPassword) and (auth.login, auth.password) == (b"films", b"right")
    return AuthResult(success=good, handled=good)


class _Encrypted(Controller):
    """A controller whose own try of the server trusts the server's certificate."""

    trust: ssl.SSLContext

    def _trigger_server(self) -> None:
        with (
            socket.create_connection((self.hostname, self.port), 10) as sock,
            self.trust.wrap_socket(sock, server_hostname=self.hostname) as inner,
        ):
            inner.recv(1024)


@contextmanager
def mail_server(
    box: Mailbox | None = None, trust: ssl.SSLContext | None = None, **more: Any
) -> Generator[Mailbox]:
    """A mail server on loopback; ``more`` goes to aiosmtpd. ``trust``: for one that is encrypted at once."""
    mailbox = box or Mailbox()
    mailbox.port = free_port()
    kind = _Encrypted if trust is not None else Controller
    controller = kind(mailbox, hostname="127.0.0.1", port=mailbox.port, **more)
    if isinstance(controller, _Encrypted) and trust is not None:
        controller.trust = trust
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


@contextmanager
def silent_server(first: bytes = b"", drip: bytes = b"") -> Generator[int]:
    """A port that takes connections, says ``first``, and then ``drip`` ten times a second for ever."""
    server = socket.create_server(("127.0.0.1", 0))
    over, held = threading.Event(), list[socket.socket]()

    def feed(sock: socket.socket) -> None:
        try:
            sock.sendall(first)
            while drip and not over.wait(0.1):
                sock.sendall(drip)
        except OSError:
            return

    feeders: list[threading.Thread] = []

    def serve() -> None:
        while True:
            try:
                sock, _ = server.accept()
            except OSError:
                return
            held.append(sock)
            feeders.append(threading.Thread(target=feed, args=(sock,), daemon=True))
            feeders[-1].start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        over.set()
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
        for one in feeders:
            one.join()
        for sock in held:
            sock.close()


@dataclass
class Post:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Hook:
    """What an HTTP receiver got. ``answer`` gives status and headers; ``huge``: bytes of body to offer."""

    posts: list[Post] = field(default_factory=list)
    answer: Callable[[Post], tuple[int, Mapping[str, str]]] = lambda _post: (204, {})
    huge: int = 0
    port: int = 0
    arrived: threading.Event = field(default_factory=threading.Event)
    free: threading.Event | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?club=1"


@contextmanager
def hook_server(hook: Hook | None = None, trust: ssl.SSLContext | None = None) -> Generator[Hook]:
    """An HTTP receiver on loopback, with ``trust`` over TLS. ``Hook.free``: no answer before it is set."""
    receiver = hook or Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            post = Post(
                self.path, dict(self.headers.items()), self.rfile.read(int(self.headers["Content-Length"]))
            )
            receiver.posts.append(post)
            receiver.arrived.set()
            if receiver.free is not None:
                receiver.free.wait(60)
            status, headers = receiver.answer(post)
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(receiver.huge))
                self.end_headers()
                for _ in range(receiver.huge // 65536):
                    self.wfile.write(b"x" * 65536)
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
            return

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            return  # a client that hangs up is what some tests are about

    server = Server(("127.0.0.1", 0), Handler)
    if trust is not None:
        server.socket = trust.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        if receiver.free is not None:
            receiver.free.set()
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Certificate:
    """A certificate for a host, signed by itself: ``server`` shows it, ``client`` trusts it alone."""

    server: ssl.SSLContext
    client: ssl.SSLContext


def certificate(folder: Path, host: str = "127.0.0.1") -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    begin = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    try:
        alternative: x509.GeneralName = x509.IPAddress(ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    crt, pem = folder / f"{host}.crt", folder / f"{host}.key"
    crt.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(crt, pem)
    return Certificate(server, ssl.create_default_context(cafile=str(crt)))

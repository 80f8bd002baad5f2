"""Handing one mail to the mail server."""

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from email.utils import parseaddr

from cloud_bridge.notify.cutoff import Cutoff
from cloud_bridge.notify.outcome import Delayed, Refused
from cloud_bridge.notify.text import harmless
from edge_agent.core.addresses import plain_address
from edge_agent.core.settings import Smtp

STEP_S = 20
WHOLE_S = 60
IMPLICIT_TLS_PORT = 465


class Mailer:
    """Sends mails through one server, a connection each. May be used from several threads."""

    def __init__(self, smtp: Smtp, trust: ssl.SSLContext | None = None, whole_s: float = WHOLE_S) -> None:
        """Nothing is connected yet.

        Args:
            smtp: which server.
            trust: whose certificates are trusted; None: the system's.
            whole_s: longest time a mail may take.
        """
        self._smtp = smtp
        self._trust = trust
        self._whole_s = whole_s

    def send(self, to: str, compose: Callable[[], bytes], taken: Callable[[], None] = lambda: None) -> None:
        """Send one mail.

        Args:
            to: the address.
            compose: asked for the mail after the server has agreed to take one for this recipient: a link is
                made for a mail that goes, not for every try.
            taken: called at once when the server has it, before any farewell: who dies between the two sends
                it twice.

        Raises:
            Refused: no such address, or the server will not take it for good.
            Delayed: not now.
        """
        address = plain_address(to)
        if address is None:
            raise Refused("this is no e-mail address")
        if self._smtp.host is None:
            raise Delayed("no mail server is set: smtp.host", everybody=True)
        sender = parseaddr(self._smtp.sender or "")[1]
        with self._reached(self._smtp.host, sender.rpartition("@")[2]) as server:
            self._log_in(server)
            _expect(server.mail(sender), "the mail server does not take mails from smtp.sender", own=True)
            _expect(server.rcpt(address), "the mail server does not take mails for this address")
            mail = compose()
            try:
                answer = server.data(mail)
            except smtplib.SMTPDataError as error:
                answer = (error.smtp_code, _bytes(error.smtp_error))
            except (smtplib.SMTPServerDisconnected, OSError) as error:
                raise Delayed("the mail server went away; it may have taken the mail", str(error)) from None
            _expect(answer, "the mail server does not take this mail")
            taken()

    @contextmanager
    def _reached(self, host: str, own_name: str) -> Generator[smtplib.SMTP]:
        with _translated(f"mail server {host}:{self._smtp.port}"), Cutoff(self._whole_s) as cutoff:
            implicit = self._smtp.tls and self._smtp.port == IMPLICIT_TLS_PORT
            server = _Server(host, self._smtp.port, own_name, cutoff, self._context() if implicit else None)
            try:
                if self._smtp.tls and not implicit:
                    server.starttls(context=self._context())
                yield server
                with contextlib.suppress(smtplib.SMTPException, OSError):
                    server.quit()
            finally:
                server.close()

    def _context(self) -> ssl.SSLContext:
        return self._trust or ssl.create_default_context()

    def _log_in(self, server: smtplib.SMTP) -> None:
        server.ehlo_or_helo_if_needed()
        if self._smtp.username is not None:
            password = self._smtp.password.get_secret_value() if self._smtp.password else ""
            server.login(self._smtp.username, password)


class _Server(smtplib.SMTP):
    """A connection with an end from its first byte on; with ``trust`` it is encrypted from there."""

    def __init__(
        self, host: str, port: int, own_name: str, cutoff: Cutoff, trust: ssl.SSLContext | None
    ) -> None:
        self._cutoff, self._trust = cutoff, trust
        super().__init__(host, port, own_name, timeout=STEP_S)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        sock = socket.create_connection((host, port), timeout)
        self._cutoff.watch(sock)
        return self._trust.wrap_socket(sock, server_hostname=host) if self._trust else sock


def _expect(answer: tuple[int, bytes], trouble: str, *, own: bool = False) -> None:
    """Whether the server agreed. What is wrong with our own settings is no refusal of the recipient."""
    code, words = answer
    if 200 <= code < 300:
        return
    detail = f"{code} {harmless(words.decode('utf-8', 'replace'), 200)}"
    if code >= 500 and not own:
        raise Refused(trouble, detail)
    raise Delayed(trouble, detail, everybody=own)


def _bytes(answer: bytes | str) -> bytes:
    return answer if isinstance(answer, bytes) else answer.encode("utf-8", "replace")


@contextmanager
def _translated(where: str) -> Generator[None]:
    """Everything that is about the server, not about one mail, as `Delayed` in one line."""
    try:
        yield
    except smtplib.SMTPAuthenticationError as error:
        raise Delayed(
            f"{where} refuses the login: smtp.username or smtp.password", str(error.smtp_code), everybody=True
        ) from None
    except smtplib.SMTPNotSupportedError as error:
        raise Delayed(f"{where} lacks something: {harmless(error, 120)}", everybody=True) from None
    except smtplib.SMTPResponseException as error:
        words = harmless(_bytes(error.smtp_error).decode("utf-8", "replace"), 200)
        raise Delayed(f"{where} answers {error.smtp_code}", words, everybody=True) from None
    except ssl.SSLCertVerificationError as error:
        reason = harmless(error.verify_message, 120)
        raise Delayed(f"{where}: its certificate is not trusted: {reason}", everybody=True) from None
    except (smtplib.SMTPException, OSError) as error:
        reason = harmless(getattr(error, "strerror", None) or error, 120)
        raise Delayed(f"{where} cannot be reached: {reason}", everybody=True) from None

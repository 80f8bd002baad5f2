"""A letter as an e-mail: text and HTML, headers that nothing from outside can break. Pure."""

from collections.abc import Iterable
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from html import escape

from cloud_bridge.notify.text import Letter, harmless

NAME_LENGTH = 60
WHOLE_LINE = 998
"""The longest line a mail may have (RFC 5322)."""
_PAGE = """<!DOCTYPE html>
<html lang="{language}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{title}</title></head>
<body style="margin:0;padding:24px 16px;background:#f4f5f4;color:#1c211e;\
font:16px/1.5 -apple-system,'Segoe UI',Roboto,Arial,sans-serif">
<div style="max-width:520px;margin:0 auto;padding:24px;background:#ffffff;border-radius:8px">
{body}
</div></body></html>
"""
_BUTTON = (
    '<p style="margin:24px 0"><a href="{url}" style="display:inline-block;padding:12px 20px;'
    'background:#0b6b3a;color:#ffffff;text-decoration:none;border-radius:6px">{label}</a></p>'
)
_NOTE = '<p style="margin:12px 0 0;color:#5b645f;font-size:13px">{text}</p>'


def mail_of(letter: Letter, sender: str, to: str, message_id: str, at: datetime) -> bytes:
    """The mail, ready for ``DATA``.

    Args:
        letter: what it says.
        sender: an address, a name in front of it allowed.
        to: a plain address.
        message_id: the message's own id: every try has the same, so that a second copy is known as one.
        at: the moment of sending, aware.
    """
    name, address = parseaddr(sender)
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address(harmless(name, NAME_LENGTH), addr_spec=address)
    mail["To"] = Address(addr_spec=to)
    mail["Subject"] = letter.subject
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = f"<{message_id}@{address.rpartition('@')[2]}>"
    mail["Content-Language"] = letter.language
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(plain(letter), cte="quoted-printable")
    mail.add_alternative(html(letter), subtype="html", cte="quoted-printable")
    # A long plain subject would be folded right behind its name, and begin with a space for its reader.
    whole = name.isascii() and letter.subject.isascii()
    return mail.as_bytes(policy=SMTP.clone(max_line_length=WHOLE_LINE) if whole else SMTP)


def plain(letter: Letter) -> str:
    """The letter as plain text."""
    blocks = [letter.hello, *letter.texts, "\n".join(f"- {item}" for item in letter.items), letter.before]
    if letter.button is not None:
        blocks.append(f"{letter.button[0]}:\n{letter.button[1]}")
    blocks += [*letter.notes, letter.bye, f"-- \n{letter.foot}"]
    return "\n\n".join(block for block in blocks if block) + "\n"


def html(letter: Letter) -> str:
    """The letter as a page: no picture, no script, nothing fetched from anywhere."""
    return _PAGE.format(
        language=letter.language, title=escape(letter.subject), body="\n".join(_parts(letter))
    )


def _parts(letter: Letter) -> Iterable[str]:
    for text in (letter.hello, *letter.texts):
        if text:
            yield f"<p>{escape(text)}</p>"
    if letter.items:
        yield "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in letter.items) + "</ul>"
    if letter.before:
        yield f"<p>{escape(letter.before)}</p>"
    if letter.button is not None:
        yield _BUTTON.format(url=escape(letter.button[1]), label=escape(letter.button[0]))
    for text in (*letter.notes, letter.bye):
        if text:
            yield f"<p>{escape(text)}</p>"
    yield _NOTE.format(text=escape(letter.foot))

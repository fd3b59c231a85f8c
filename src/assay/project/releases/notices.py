"""Messages to people: by e-mail over SMTP, and to a webhook.

    send_mail(Notice("4f0c", "support is stale", "...", {}), "ops@acme.com")

The mail server is that of the variable `ASSAY_SMTP_URL`. A webhook is spoken to as a provider is:
public addresses over https, others only where a network was named, no redirects.
"""

from __future__ import annotations

import json
import os
import re
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from urllib.parse import SplitResult, unquote, urlsplit

import certifi
from pydantic import ValidationError

from assay.config import Provider
from assay.config.hosts import is_loopback
from assay.config.names import VARIABLE
from assay.errors import AssayError, ConfigError, UsageError
from assay.generate.remote.connection import WireError
from assay.generate.remote.outbound import ProviderClient, fill_variables

SMTP_URL, MAIL_FROM = "ASSAY_SMTP_URL", "ASSAY_MAIL_FROM"
WITHIN_S = 30.0
_ADDRESS = re.compile(r"[A-Za-z0-9._%+\-]{1,64}@(?:[A-Za-z0-9\-]{1,63}\.){0,8}[A-Za-z0-9\-]{1,63}")
_PORTS = {"smtp": 587, "smtps": 465}
_FIX = (
    f"Set it where the worker runs: {SMTP_URL}=smtps://USER:PASSWORD@HOST (or smtp://HOST:PORT); "
    "in a password, write what is no letter or digit as %40 for @."
)


class NoticeError(AssayError):
    """A message was not delivered."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A message.

    Attributes:
        id: which a message that is sent twice has both times.
        data: for a webhook, beside the text.
    """

    id: str
    subject: str
    text: str
    data: dict[str, object]


def check_mail(address: str) -> str:
    """An e-mail address as it is.

    Raises:
        UsageError: it is none.
    """
    if not _ADDRESS.fullmatch(address):
        raise UsageError(
            f"{address!r} is no e-mail address.", where="--mail", fix="Write one, without a name."
        )
    return address


def check_webhook(url: str, networks: Sequence[str]) -> str:
    """The address of a webhook as it is; `${NAME}` in it stands for a variable, and is not filled.

    Raises:
        UsageError: it is none, or needs a network that is not named.
    """
    _provider(VARIABLE.sub("x", url), networks)
    return url


def send_mail(notice: Notice, address: str) -> None:
    """Send a message by the mail server of the environment, over TLS.

    Raises:
        NoticeError: there is none, or it has not taken the message.
    """
    server = _split(os.environ.get(SMTP_URL, ""))
    if server is None or server.scheme not in _PORTS or not server.hostname:
        raise NoticeError(f"the variable {SMTP_URL} names no mail server.", fix=_FIX)
    sender = os.environ.get(MAIL_FROM) or unquote(server.username or "")
    if not _ADDRESS.fullmatch(sender):
        raise NoticeError(
            "there is no address to send mail from.", fix=f"Set {MAIL_FROM} where the worker runs."
        )
    try:
        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = notice.subject, sender, address
        domain = sender.partition("@")[2]
        mail["Date"], mail["Message-ID"] = formatdate(), f"<{notice.id}@{domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(notice.text)
        with _connected(server) as smtp:
            smtp.send_message(mail)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise NoticeError(f"the mail server did not take it ({_reason(error)}).") from None


def _connected(server: SplitResult) -> smtplib.SMTP:
    host = str(server.hostname)
    port = server.port or _PORTS[server.scheme]
    tls = ssl.create_default_context(cafile=certifi.where())
    if server.scheme == "smtps":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=WITHIN_S, context=tls)
    else:
        smtp = smtplib.SMTP(host, port, timeout=WITHIN_S)
    try:
        if server.scheme == "smtp" and not is_loopback(host):
            smtp.starttls(context=tls)
        if server.username is not None:
            smtp.login(unquote(server.username), unquote(server.password or ""))
    except BaseException:
        smtp.close()
        raise
    return smtp


def _reason(error: Exception) -> str:
    """Without what the server says beside its code: it may repeat the address."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__}, code {error.smtp_code}"
    return getattr(error, "strerror", None) or type(error).__name__


def send_webhook(notice: Notice, url: str, networks: Sequence[str]) -> None:
    """POST a message as JSON; `text` is what chat programs show.

    Raises:
        NoticeError: the address may not be spoken to, or has not taken the message.
    """
    try:
        url = fill_variables(url, "--webhook")
        provider = _provider(url, networks)
    except (ConfigError, UsageError) as error:
        raise NoticeError(error.what, fix=error.fix) from None
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    body = json.dumps({"subject": notice.subject, "text": notice.text, **notice.data}).encode()
    client = ProviderClient("webhook", provider, "--webhook")
    try:
        reply = client.send(path, body, {}, within_s=WITHIN_S)
        status = reply.status
        reply.close()
    except ConfigError as error:
        raise NoticeError(
            error.what, fix="If this is intended, name its network with --webhook-network."
        ) from None
    except WireError as error:
        raise NoticeError(f"the webhook was not told: {error}.") from None
    finally:
        client.close()
    if not 200 <= status < 300:
        raise NoticeError(f"the webhook answered HTTP {status}.")


def _split(url: str) -> SplitResult | None:
    """None for what is no address: Python's own words repeat it, and a password may be in it."""
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _provider(url: str, networks: Sequence[str]) -> Provider:
    try:
        parts = _split(url)
        if parts is None:
            raise ValueError("what follows :// cannot be read")
        if parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError("leave out # and what is no printable ASCII")
        return Provider(base_url=f"{parts.scheme}://{parts.netloc}", private_network=list(networks))
    except ValidationError as error:
        what = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    except ValueError as error:
        what = str(error)
    what = what.replace("private_network allows the address", "--webhook-network names its network")
    raise UsageError(f"this is no address of a webhook: {what}.", where="--webhook")

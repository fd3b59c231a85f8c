"""Secrets and personal data in texts: found by shape and checksum, and never repeated.

A finding says what it is and where; the value itself does not leave this module. The shapes of
keys follow their providers' documentation and the rules of gitleaks (MIT). Where a checksum
exists (cards: Luhn, IBAN: mod 97) a string that fails it is not reported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from assay import json_reader
from assay.data.phones import find_phones

Kind = Literal["secret", "card-number", "iban", "email", "phone"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One secret or one item of personal data.

    Attributes:
        kind: decides the code of the problem.
        what: in words, e.g. `AWS access key`.
        start, end: where it stands in the text, in characters.
    """

    kind: Kind
    what: str
    start: int
    end: int


_SECRETS: tuple[tuple[str, str], ...] = (
    ("private key", r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
    ("Anthropic API key", r"\bsk-ant-[A-Za-z0-9_\-]{20,}"),
    ("OpenRouter API key", r"\bsk-or-v1-[0-9a-f]{32,}"),
    ("OpenAI API key", r"\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_\-]{20,}"),
    ("AWS access key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    ("GitHub token", r"\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{60,}"),
    ("GitLab token", r"\bgl(?:pat|ptt|dt|rt|cbt)-[A-Za-z0-9_\-]{20,}"),
    ("Google API key", r"\bAIza[A-Za-z0-9_\-]{35}"),
    ("Google OAuth secret", r"\bGOCSPX-[A-Za-z0-9_\-]{28}"),
    ("Slack token", r"\bxox[abeoprs]-[A-Za-z0-9\-]{10,}"),
    ("Slack webhook", r"https://hooks\.slack\.com/services/[A-Za-z0-9/]{20,}"),
    ("Stripe key", r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{20,}"),
    ("Hugging Face token", r"\bhf_[A-Za-z0-9]{30,}"),
    ("SendGrid key", r"\bSG\.[A-Za-z0-9_\-]{20,24}\.[A-Za-z0-9_\-]{39,50}"),
    ("Twilio key", r"\bSK[0-9a-f]{32}\b"),
    ("npm token", r"\bnpm_[A-Za-z0-9]{36}"),
    ("PyPI token", r"\bpypi-[A-Za-z0-9_\-]{50,}"),
    ("Groq API key", r"\bgsk_[A-Za-z0-9]{40,}"),
    ("xAI API key", r"\bxai-[A-Za-z0-9]{40,}"),
    ("Azure storage key", r"\bAccountKey=[A-Za-z0-9+/]{40,}={0,2}"),
    ("JSON web token", r"\beyJ[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}"),
    ("Assay API key", r"\bassay-[A-Za-z0-9_\-]{43}(?![A-Za-z0-9_\-])"),
    ("bearer token", r"(?<=\b[Bb]earer )(?=\S{0,99}\d)[A-Za-z0-9._~+/\-]{16,}=*"),
    (
        "password in an address",
        r"\b[a-z][a-z0-9+.\-]{1,12}://[^\s/:@]{1,64}:[^\s/@]{3,64}@[\w.\-]+",
    ),
)
_SECRET = re.compile("|".join(f"(?P<s{i}>{shape})" for i, (_, shape) in enumerate(_SECRETS)))
_SECRET_HINTS = (
    "-----BEGIN", "sk-", "AKIA", "ASIA", "ABIA", "ACCA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_",
    "github_pat_", "glpat-", "glptt-", "gldt-", "glrt-", "glcbt-", "AIza", "GOCSPX-", "xox",
    "hooks.slack", "k_live_", "k_test_", "hf_", "SG.", "SK", "npm_", "pypi-", "gsk_", "xai-",
    "AccountKey", "eyJ", "://", "assay-", "earer ",
)  # fmt: skip
_ASSIGNMENT = re.compile(
    r"""\b(?:pass(?:word|wd|phrase)|pwd|secret|api[_-]?key|access[_-]?key|auth[_-]?token)\b["']?
        \s*(?:[:=]|=>|:=)\s*(?P<quote>["']?)(?P<value>[^\s"'<>{}\[\]]{6,})""",
    re.IGNORECASE | re.VERBOSE,
)
_ASSIGNMENT_HINTS = ("pass", "pwd", "secret", "key", "token")
_DIGITS = re.compile(r"\d(?:[ \-().]{0,2}\d){6}")
_CARD = re.compile(r"(?<![\d.,\-])\d(?:[ \-]?\d){11,18}(?![\d\-]|[.,]\d)")
_SCHEMES = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|3[47]\d{13}|6(?:011|5\d\d|4[4-9]\d)\d{12}|3(?:0[0-5]|[689]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}"
    r"|62\d{14,17}"
)
_IBAN = re.compile(
    r"\b[A-Z]{2}\d{2}(?:[A-Z0-9]{11,30}|(?:[ \-][A-Z0-9]{4}){2,7}(?:[ \-][A-Z0-9]{1,4})?)\b"
)
_LETTERS = r"A-Za-z\u00c0-\u024f\u0370-\u052f"
"""Of alphabets whose words are parted by spaces, so that an address ends where the next begins."""
_EMAIL = re.compile(
    rf"[{_LETTERS}0-9._%+\-]{{1,64}}(?:@|%40)(?:[{_LETTERS}0-9\-]{{1,63}}\.){{1,8}}"
    rf"(?:xn--[a-z0-9\-]{{2,59}}|[{_LETTERS}]{{2,24}})(?![{_LETTERS}0-9_])"
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_SIGNS = {"n": "\n", "r": "\n", "t": "\t", "b": " ", "f": " "}
_RESERVED = re.compile(
    r"(?:^|[.@]|%40)(?:example\.(?:com|org|net)|example|test|invalid|localhost)$", re.I
)


def find_private(text: str) -> list[Finding]:
    """Secrets and personal data of a text, in the order they stand in it, none inside another."""
    found: list[Finding] = []
    taken = bytearray(len(text))
    for finding in _all(text):
        if taken.find(1, finding.start, finding.end) < 0:
            taken[finding.start : finding.end] = b"\1" * (finding.end - finding.start)
            found.append(finding)
    return sorted(found, key=lambda f: f.start)


def mask(text: str) -> str:
    """The text with every secret and every item of personal data replaced by its kind."""
    return _replaced(text, find_private(text))


def mask_within(value: Any, inside: int = 2) -> tuple[Any, list[Finding]]:
    """A JSON value with `mask` done to all its texts, names of fields included, and what was found.

    A text that is the JSON of an object or a list stays one: the value that it spells is masked,
    so that no escape hides what stands behind it.

    Args:
        inside: how often such a text may stand in another; what is deeper is masked as a text,
            and where an escape hides something in it, is kept without its escapes.
    """
    if isinstance(value, str):
        spelled = _masked_json(value, inside - 1) if inside else None
        if spelled is not None:
            return spelled
        found = find_private(value)
        if not inside and "\\" in value:
            plain = _without_escapes(value)
            if len(hidden := find_private(plain)) > len(found):
                return _replaced(plain, hidden), hidden
        return _replaced(value, found), found
    if isinstance(value, list):
        items = [mask_within(item, inside) for item in value]
        return [item for item, _ in items], [one for _, found in items for one in found]
    if isinstance(value, dict):
        return _masked_fields(value, inside)
    if isinstance(value, int) and 10**11 <= value < 10**19:
        found = [one for one in find_private(str(value)) if one.kind == "card-number"]
        return (_replaced(str(value), found), found) if found else (value, [])
    return value, []


def _without_escapes(text: str) -> str:
    """Each pass takes what stood one JSON text deeper."""
    while (plain := _ESCAPE.sub(_unescaped, text)) != text:
        text = plain
    return text


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else _SIGNS.get(escape[2], escape[2])


def _masked_fields(fields: dict[str, Any], inside: int) -> tuple[dict[str, Any], list[Finding]]:
    kept: dict[str, Any] = {}
    every: list[Finding] = []
    for name, value in fields.items():
        found = find_private(name)
        masked = shown = _replaced(name, found)
        number = 1
        while shown in kept:
            number += 1
            shown = f"{masked} {number}"
        kept[shown], more = mask_within(value, inside)
        every += [*found, *more]
    return kept, every


def _masked_json(text: str, inside: int) -> tuple[str, list[Finding]] | None:
    """The JSON text of an object or a list, masked; None for any other text."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        masked, found = mask_within(json_reader.read(text), inside)
        if not found and not find_private(text):  # a name that comes twice hides what it had first
            return text, found
        return json.dumps(masked, ensure_ascii=False, allow_nan=False), found
    except ValueError:
        return None


def _replaced(text: str, findings: list[Finding]) -> str:
    parts, end = [], 0
    for finding in findings:
        parts += [text[end : finding.start], f"<{finding.what}>"]
        end = finding.end
    return "".join((*parts, text[end:]))


def _all(text: str) -> Iterator[Finding]:
    """The surest first: what comes later is dropped where it overlaps what came before."""
    yield from _secrets(text)
    if "@" in text or "%40" in text:
        yield from _emails(text)
    if _DIGITS.search(text):
        yield from _numbers(text)


def _secrets(text: str) -> Iterator[Finding]:
    if any(hint in text for hint in _SECRET_HINTS):
        for match in _SECRET.finditer(text):
            what = _SECRETS[int(str(match.lastgroup)[1:])][0]
            yield Finding("secret", what, *match.span())
    lowered = text.lower()
    if any(hint in lowered for hint in _ASSIGNMENT_HINTS):
        for match in _ASSIGNMENT.finditer(text):
            if _looks_secret(match["value"], quoted=bool(match["quote"])):
                yield Finding("secret", "password or key", *match.span("value"))


def _looks_secret(value: str, *, quoted: bool) -> bool:
    """Not a word of the sentence (`password: please`), not a placeholder (`********`)."""
    value = value.rstrip(".,;:!?)")
    if len(value) < 6 or len(set(value)) < 4:
        return False
    kinds = [
        any(c.islower() for c in value),
        any(c.isupper() for c in value),
        any(c.isdigit() for c in value),
        any(not c.isalnum() for c in value),
    ]
    return sum(kinds) >= (2 if quoted else 3) or (kinds[2] and len(value) >= 8 and sum(kinds) >= 2)


def _emails(text: str) -> Iterator[Finding]:
    for match in _EMAIL.finditer(text):
        if not _RESERVED.search(match[0]):
            yield Finding("email", "e-mail address", *match.span())


def _numbers(text: str) -> Iterator[Finding]:
    for match in _IBAN.finditer(text):
        if end := _iban_end(match[0]):
            yield Finding("iban", "IBAN", match.start(), match.start() + end)
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if _SCHEMES.fullmatch(digits) and _luhn(digits):
            yield Finding("card-number", "card number", *match.span())
    for start, end in find_phones(text):
        yield Finding("phone", "phone number", start, end)


def _luhn(digits: str) -> bool:
    from stdnum import luhn

    return bool(luhn.is_valid(digits))


def _iban_end(text: str) -> int | None:
    """Length of the longest beginning that is an IBAN; words in capitals may follow it."""
    from stdnum import iban

    for end in range(len(text), 14, -1):
        if text[end - 1].isalnum() and iban.is_valid(text[:end]):
            return end
    return None

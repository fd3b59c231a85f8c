"""Telephone numbers in texts: with their country's code, or where a word says that one follows.

Any other run of digits may be an order number. So a number without a country's code counts where a
word such as "phone" or "call" stands before it, and no word such as "order" between the two; North
American ones in their usual spelling count anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_INTERNATIONAL = re.compile(r"(?:\+|\b00)[1-9]")
_INTERNATIONAL_SHAPE = re.compile(r"(?:\+|\b00)[1-9](?:[ \-().]{0,2}\d){6,14}")
_LONGEST_LOOKED_UP = 20_000
"""Characters of a text whose telephone numbers are looked up in their countries' plans, which takes
up to 10 µs for each; in a longer one the shape is enough."""
_NORTH_AMERICAN = re.compile(r"(?<![\w\-.])(?:\(\d{3}\) ?|\d{3}[\-. ])\d{3}[\-. ]\d{4}(?![\w\-])")
_NATIONAL = re.compile(
    r"(?<![\w.,/\-+(])(?!\d\d?[./\-]\d\d?[./\-]\d{4}|\d{4}[./\-]\d\d?[./\-]\d\d?)"  # no date
    r"(?:\(?0\d(?:[ \-./()]{0,2}\d){7,10}|[2-9]\d{2}(?:[ \-.]?\d){6,7})(?![\w\-])"
)
"""With a leading zero, or nine or ten digits as where no zero is dialled."""
_WITHOUT_ZERO = ("ES", "IT", "PT")
"""Countries whose numbers are dialled without a zero, of those whose words are below."""
_BEFORE = 40
"""Characters before a number in which a word says what it is."""
_ANNOUNCING = re.compile(
    r"\b(?:(?:tele)?phone|mobile|cell(?:phone)?|call(?:ed|ing|s)?|dial|ring|text me|reach(?:ed)?"
    r"|whats?app|(?:my|our|his|her|their|contact|daytime) number|(?:tele)?fax"
    r"|tel|t[eé]l[eé](?:ph|f)on[eo]?|telefoon|telefonnummer|telefonisch"
    r"|handy(?:nummer)?|mobil(?:nummer|e)?|rufnummer|durchwahl|anruf(?:en)?|rufen|ruft|erreichbar"
    r"|meine nummer|portable|appel(?:er|ez)?|joindre|mon num[eé]ro"
    r"|m[oó]vil|celular|ll[aá]m(?:ar|e|en|a)(?:me|nos)?|mi n[uú]mero"
    r"|cellulare|chiam(?:are|ate|ami|atemi)|il mio numero"
    r"|telefone|telem[oó]vel|lig(?:ar|ue|uem)|meu n[uú]mero"
    r"|mobiel|bel(?:len|t)?|mijn nummer)\b",
    re.IGNORECASE,
)
"""In English, German, French, Spanish, Italian, Portuguese and Dutch."""
_OTHER = re.compile(
    r"\b(?:order|invoice|contract|policy|reference|ref|account|customer|case|ticket|claim|parcel"
    r"|tracking|serial|booking|refund\w*|amount\w*|sum|total|betrag|montant|importe"
    r"|importo|costs?|price|paid|kostet\w*|co[uû]te|cuesta|costa"
    r"|bestell\w*|auftrag\w*|rechnung\w*|vertrag\w*|kunden\w*|konto\w*"
    r"|commande|facture|contrat|dossier|compte|pedido|factura|contrato|cuenta|ordine|fattura"
    r"|contratto|encomenda|fatura|conta|bestelling|factuur|klantnummer)\b",
    re.IGNORECASE,
)
"""What else a number may be of."""


def find_phones(text: str) -> Iterator[tuple[int, int]]:
    """Where telephone numbers begin and end, the surest first."""
    looked_up = len(text) <= _LONGEST_LOOKED_UP
    if _INTERNATIONAL.search(text):
        if looked_up:
            yield from _international(text)
        else:
            yield from (found.span() for found in _INTERNATIONAL_SHAPE.finditer(text))
    for found in _NORTH_AMERICAN.finditer(text):
        if not looked_up or _is_valid(found[0], "US"):
            yield found.span()
    for found in _NATIONAL.finditer(text):
        if _is_announced(text, found.start()) and (
            found[0].lstrip("(").startswith("0")
            or not looked_up
            or any(_is_valid(found[0], region) for region in _WITHOUT_ZERO)
        ):
            yield found.span()


def _international(text: str) -> Iterator[tuple[int, int]]:
    """After a plus any number of a possible length; after two zeros one of its country's plan."""
    from phonenumbers import Leniency, PhoneNumberMatcher

    shown = re.sub(r"\b00(?=[1-9])", " +", text)
    for match in PhoneNumberMatcher(shown, None):
        yield match.start - (text[match.start] == "0"), match.end  # with both zeros
    for match in PhoneNumberMatcher(text, None, leniency=Leniency.POSSIBLE):
        if not text[max(0, match.start - 1) : match.start].isalnum():
            yield match.start, match.end


def _is_valid(number: str, region: str) -> bool:
    import phonenumbers

    return phonenumbers.is_valid_number(phonenumbers.parse(number, region))


def _is_announced(text: str, start: int) -> bool:
    """Whether a word before a place says that a telephone number follows, and none after it that
    another number does."""
    before = text[max(0, start - _BEFORE) : start]
    words = list(_ANNOUNCING.finditer(before))
    return bool(words) and _OTHER.search(before, words[-1].end()) is None

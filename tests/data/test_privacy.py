"""What is found, what is left alone, and that nothing found is repeated."""

from __future__ import annotations

import json

import pytest

from assay.data.privacy import find_private, mask, mask_within

TAIL = "Ab3dE6gH9jK2mN5pQ8sT1vW4yZ7" * 3  # keys are put together here: none stands in this file
FOUND = [
    ("secret", "sk-" + "proj-" + TAIL[:40]),
    ("secret", "sk-" + "ant-" + "api03-" + TAIL[:40]),
    ("secret", "AKIA" + "IOSFODNN7EXAMPLE"),
    ("secret", "ghp" + "_" + TAIL[:36]),
    ("secret", "github" + "_pat_" + TAIL[:70]),
    ("secret", "glpat" + "-" + TAIL[:20]),
    ("secret", "AIza" + TAIL[:35]),
    ("secret", "xoxb" + "-123456789012-" + TAIL[:20]),
    ("secret", "sk_" + "live_" + TAIL[:24]),
    ("secret", "hf" + "_" + TAIL[:34]),
    ("secret", "-----BEGIN RSA PRIVATE" + " KEY-----"),
    ("secret", "eyJ" + TAIL[:12] + ".eyJ" + TAIL[:20] + "." + TAIL[:30]),
    ("secret", "assay" + "-" + TAIL[:43]),
    ("secret", "postgres" + "://admin:hunter22@db.internal"),
    ("card-number", "4111 1111 1111 1111"),
    ("card-number", "5555-5555-5555-4444"),
    ("card-number", "378282246310005"),
    ("iban", "DE89 3704 0044 0532 0130 00"),
    ("iban", "GB29NWBK60161331926819"),
    ("iban", "NO93 8601 1117 947"),
    ("email", "jane.doe+shop@mail.acme.co.uk"),
    ("email", "jöhn@münchen.de"),
    ("email", "иван@почта.xn--p1ai"),
    ("email", "john%40acme.com"),
    ("phone", "+49 30 901820"),
    ("phone", "0044 20 7031 3000"),
    ("phone", "(212) 736-5000"),
    ("phone", "+44 1632 960 821"),  # of a possible length, in no plan
]
NATIONAL = [
    ("My phone is {}.", "01483 812 406"),
    ("Mobile {}", "07911 123456"),
    ("My number is {}", "0161 496 0345"),
    ("Tel.: {}, after five", "(01483) 812406"),
    ("Rufen Sie mich unter {} an", "030 901820"),
    ("Meine Handynummer: {}", "0171-2345678"),
    ("Appelez-moi au {}", "06.12.34.56.78"),
    ("mi teléfono es {}", "612 345 678"),
    ("il mio cellulare: {}", "347 123 4567"),
]


@pytest.mark.parametrize(("kind", "value"), FOUND)
@pytest.mark.parametrize("sentence", ["{}", "Please look at {}, thank you.", "key: ({})\nnext"])
def test_found_and_never_repeated(kind: str, value: str, sentence: str) -> None:
    text = sentence.format(value)
    findings = find_private(text)
    assert [f.kind for f in findings] == [kind]
    assert value not in mask(text)
    assert value[-4:] not in mask(text)
    for finding in findings:
        assert value not in repr(finding)


@pytest.mark.parametrize(("sentence", "number"), NATIONAL)
def test_a_number_without_a_country_is_found_where_a_word_announces_it(
    sentence: str, number: str
) -> None:
    text = sentence.format(number)
    [found] = find_private(text)
    assert (found.kind, text[found.start : found.end]) == ("phone", number)
    assert find_private(f"Parcel {number} is late") == []


@pytest.mark.parametrize(
    "assignment",
    [
        "password=Tr0ub4dor&3",
        "my password: Summer2024!",
        'api_key = "k9d8f7a6b5c4"',
        "PWD:x7Kq92Lm",
        '"secret": "a8f5f167f44f4964"',
    ],
)
def test_assigned_passwords(assignment: str) -> None:
    assert [f.what for f in find_private(assignment)] == ["password or key"]


@pytest.mark.parametrize(
    "text",
    [
        "I forgot my password: please help me",
        "password: ********",
        "What is the secret: patience",
        "The API key = {{api_key}}",
        "4111 1111 1111 1112",  # fails Luhn
        "order 1234567890123456",
        "invoice 0000000000000000",
        "DE89 3704 0044 0532 0130 01",  # fails mod 97
        "write to someone@example.com",
        "someone%40example.com",
        "the bearer instruments-of-payment are here",
        "https://unpkg.com/%40angular/core.js",
        "@jane said hello",
        "my order number is 20240517998",
        "call 112",
        "my order number is 0123456789",
        "please call me about invoice 0456 123 789",
        "My phone was in parcel 01483 812 406",
        "policy number 0161 496 0345",
        "call me on 01.02.2024 at 10:30",
        "please call me back on 2026-01-15 10:30",
        "call off the meeting of 2025-12-01 09:00",
        "called twice, refund of 300000000 IDR",
        "my phone cost 350 000 000 dong",
        "the ratio is 3.14159265358979",
        "version 10.20.30.40 of 2024-05-17",
        "risk-free task-oriented disk-space-and-more-things-here",
        "https://shop.acme.com/orders/12345",
        "",
    ],
)
def test_left_alone(text: str) -> None:
    assert find_private(text) == []
    assert mask(text) == text


def test_a_bearer_token_is_a_secret_and_an_address_ends_where_its_alphabet_does() -> None:
    assert mask(f"Authorization: Bearer {TAIL[:30]}.x") == "Authorization: Bearer <bearer token>"
    assert mask("写信给john@acme.com谢谢") == "写信给<e-mail address>谢谢"


@pytest.mark.parametrize("depth", range(6))
def test_no_depth_of_json_texts_hides_anything(depth: int) -> None:
    text = "\\u006aohn@acme.com, \\u0073k-" + TAIL[:40]
    text = '{"a": "' + text + '"}'
    for _ in range(depth):
        text = json.dumps({"a": text})
    shown, found = mask_within({"text": text})
    assert len(found) == 2
    assert "acme" not in shown["text"]
    assert TAIL[:40] not in shown["text"]


def test_several_in_one_text_stand_in_order() -> None:
    text = "card 4111111111111111 of jane@acme.com, call +49 30 901820"
    assert [f.kind for f in find_private(text)] == ["card-number", "email", "phone"]
    assert mask(text) == "card <card number> of <e-mail address>, call <phone number>"

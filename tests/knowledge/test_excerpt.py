"""What is shown of a passage holds what was asked for, in the passage's own words."""

from __future__ import annotations

from assay.knowledge.excerpt import excerpt

CARE = "\n".join(
    f"## {plant}\nWater it once in {days} days. It should be cut in {month}."
    for plant, days, month in [
        ("Fig", "nine", "March"),
        ("Lavender", "eight", "August"),
        ("Dahlia", "two", "October"),
        ("Hosta", "three", "May"),
        ("Rose", "five", "March"),
    ]
)


def test_an_excerpt_begins_where_most_of_the_query_stands() -> None:
    found = excerpt(CARE, "How often should hostas be watered?", 100)
    assert found.startswith("… ## Hosta\nWater it once in three days.")
    assert found.endswith(" …")
    assert found[2:-2] in CARE
    assert len(found) <= 104


def test_a_sentence_is_shown_with_what_its_line_says_before_it() -> None:
    found = excerpt(CARE, "What is cut in May?", 60)
    assert found == "… Water it once in three days. It should be cut in May. …"


def test_a_point_within_a_number_ends_no_sentence() -> None:
    text = f"{CARE}\nA ticket costs 3.50 EUR at www.firm.ch. Dogs go free."
    assert excerpt(text, "EUR", 20) == "… A ticket costs 3.50 EUR at www.firm.ch. …"


def test_without_a_word_of_the_query_it_is_the_beginning() -> None:
    assert excerpt(CARE, "?", 100).startswith("## Fig\nWater it once in nine days.")
    assert excerpt("...", "what", 1) == "..."
    assert excerpt(f" {CARE}\n", "rose", len(CARE)) == CARE

"""The plan of shared prefixes: what is shared is found, and nothing that is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.prefix.tree import LEAST_SAVED, SHORTEST, Node, common_length, plan

tokens = st.lists(st.integers(0, 1), max_size=40).map(tuple)


@given(tokens, tokens)
def test_common_length_is_that_of_a_loop(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    count = 0
    while count < min(len(a), len(b)) and a[count] == b[count]:
        count += 1
    assert common_length(a, b) == count


def test_a_system_prompt_and_a_few_shot_block_are_two_levels() -> None:
    system, block = tuple(range(100)), tuple(range(200, 260))
    sequences = [(*system, *block, i) for i in range(300, 305)]
    sequences += [(*system, i, i) for i in range(400, 404)]
    nodes = plan(sequences)
    assert [len(n.path()) if n else 0 for n in nodes] == [2] * 5 + [1] * 4
    deep, shallow = nodes[0], nodes[-1]
    assert deep is not None
    assert shallow is not None
    assert deep.parent is shallow
    assert shallow.tokens == system
    assert (deep.start, deep.tokens) == (100, system + block)


def test_equal_sequences_keep_their_last_token_for_themselves() -> None:
    nodes = plan([tuple(range(100))] * 3)
    assert {n.end for n in nodes if n} == {99}


@pytest.mark.parametrize(
    "sequences",
    [[], [(1, 2, 3)], [(*range(SHORTEST - 1), i) for i in range(50, 90)], [(1,), (2,)]],
)
def test_what_is_not_worth_a_node_gets_none(sequences: list[tuple[int, ...]]) -> None:
    assert plan(sequences) == [None] * len(sequences)


def test_a_node_that_saves_too_little_is_not_made() -> None:
    shared = tuple(range(LEAST_SAVED - 1))
    assert plan([(*shared, 900), (*shared, 901)]) == [None, None]
    assert plan([(*shared, 900), (*shared, 901), (*shared, 902)])[0] is not None


def test_planning_goes_on_below_a_known_node() -> None:
    known = Node(None, tuple(range(80)), 0)
    nodes = plan([(*range(80), *range(200, 300), i) for i in (1, 2)], below=known)
    assert nodes[0] is not None
    assert nodes[0].parent is known
    assert plan([(*range(80), 1), (*range(80), 2)], below=known) == [known, known]


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2), tokens.filter(bool)),
        min_size=1,
        max_size=12,
    )
)
def test_every_node_is_a_proper_prefix_of_its_sequence(
    shapes: list[tuple[int, int, tuple[int, ...]]],
) -> None:
    blocks = [(), tuple(range(10, 90)), tuple(range(100, 140))]
    sequences = [(*blocks[a], *blocks[b], *own) for a, b, own in shapes]
    for sequence, node in zip(sequences, plan(sequences), strict=True):
        start = 0
        for step in node.path() if node else []:
            assert step.start == start
            assert step.end - step.start >= SHORTEST
            assert sequence[: step.end] == step.tokens
            start = step.end
        assert start < len(sequence)

"""Stored sequence numbers: the range set against a plain set, and what an acknowledgement may claim."""

from __future__ import annotations

import pytest
from felinar.store.seqs import SPAN, SeqSet
from hypothesis import given
from hypothesis import strategies as st

numbers = st.lists(st.integers(0, 120) | st.integers(0, (1 << 30) - 1), max_size=80)


@given(numbers)
def test_behaves_as_a_set(seqs: list[int]) -> None:
    ours, plain = SeqSet(), set[int]()
    for seq in seqs:
        assert ours.add(seq) == (seq not in plain)
        plain.add(seq)
    assert ours.count == len(plain)
    assert ours.highest == max(plain, default=-1)
    assert all(seq in ours for seq in plain)
    assert all((seq + 1 in ours) == (seq + 1 in plain) for seq in plain)
    assert ours.missing == (max(plain) - min(plain) + 1 - len(plain) if plain else 0)
    assert all(low <= high for low, high in ours.ranges())
    assert all(a[1] + 1 < b[0] for a, b in zip(ours.ranges(), ours.ranges()[1:], strict=False))


@given(numbers)
def test_survives_the_database(seqs: list[int]) -> None:
    ours = SeqSet()
    for seq in seqs:
        ours.add(seq)
    again = SeqSet.from_bytes(ours.to_bytes())
    assert again.ranges() == ours.ranges()
    assert again.count == ours.count
    assert ours.copy().ranges() == ours.ranges()


@given(numbers)
def test_acknowledges_only_what_is_stored(seqs: list[int]) -> None:
    ours = SeqSet()
    for seq in seqs:
        ours.add(seq)
    for seq in seqs:
        base, bitmap = ours.acknowledgement(seq)
        assert bitmap >> seq - base & 1
        assert [base + i in ours for i in range(SPAN)] == [bool(bitmap >> i & 1) for i in range(SPAN)]
        assert ours.acknowledgement(base) == (base, bitmap)


def test_a_cut_record_is_refused() -> None:
    with pytest.raises(ValueError, match="cut short"):
        SeqSet.from_bytes(b"\x80")

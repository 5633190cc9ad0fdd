"""The grammar writes whole sentences of its language, the same ones from the same generator state."""

from __future__ import annotations

import numpy as np
import pytest

from backend.synthetic import lettering
from backend.synthetic.lexicons import ARABIC, ENGLISH
from backend.synthetic.texts import Lexicon, Writer


@pytest.mark.parametrize("lexicon", [ARABIC, ENGLISH], ids=["ar", "en"])
def test_every_pattern_of_the_grammar_fills(lexicon: Lexicon) -> None:
    writer = Writer(lexicon, np.random.default_rng(1))
    for pattern in (*lexicon.sentences, *lexicon.opening, *lexicon.closing, *lexicon.signing):
        filled = writer.fill(pattern)
        assert "{" not in filled
        assert lettering.is_arabic(filled) == (lexicon is ARABIC)


@pytest.mark.parametrize("lexicon", [ARABIC, ENGLISH], ids=["ar", "en"])
def test_the_same_generator_state_writes_the_same(lexicon: Lexicon) -> None:
    first, second = (Writer(lexicon, np.random.default_rng(3)).paragraph(5) for _ in range(2))
    assert first == second
    assert first != Writer(lexicon, np.random.default_rng(4)).paragraph(5)


def test_an_unknown_slot_is_an_error() -> None:
    with pytest.raises(KeyError, match="nowhere"):
        Writer(ENGLISH, np.random.default_rng(0)).fill("to {nowhere}")


def test_arabic_documents_use_one_kind_of_digits() -> None:
    for seed in range(12):
        writer = Writer(ARABIC, np.random.default_rng(seed))
        shown = "".join(writer.slot(slot) for slot in ("date", "amount", "phone", "n", "days", "address"))
        eastern = any("\u0660" <= character <= "\u0669" for character in shown)
        assert eastern != any(character in "0123456789" for character in shown)

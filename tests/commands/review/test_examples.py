"""A bounded number of each class, drawn evenly; embeddings on disk come back as they were."""

from __future__ import annotations

import numpy as np

from backend.commands.review import held_out
from backend.commands.review.held_out import Examples
from backend.commands.review.reviewing import EmbeddingShelf
from backend.vision.engine import EMBEDDING

MOST = held_out._MOST


def test_of_each_class_the_embeddings_and_their_documents_are_kept() -> None:
    held = Examples()
    embeddings = np.arange(3, dtype=np.float32)[:, None].repeat(EMBEDDING, 1)
    held.add(embeddings, np.array([2, 0, 2]), document=4)
    held.add(embeddings[:1] + 9, np.array([2]), document=7)
    kept, documents = held.of(2)
    assert (kept[:, 0].tolist(), documents.tolist()) == ([0, 2, 9], [4, 4, 7])
    assert held.of(0)[0][:, 0].tolist() == [1]
    assert len(held.of(3)[0]) == 0


def test_what_comes_late_is_kept_as_often_as_what_came_early() -> None:
    held = Examples()
    came = 5 * MOST
    for start in range(0, came, 100):
        numbers = np.arange(start, start + 100, dtype=np.float32)[:, None].repeat(EMBEDDING, 1)
        held.add(numbers, np.full(100, 1), document=start)
    kept = held.of(1)[0][:, 0]
    assert len(np.unique(kept)) == len(kept) == MOST
    # Each fifth of what came should have a fifth of the places; five standard deviations are 90.
    share = np.histogram(kept, bins=5, range=(0, came))[0]
    np.testing.assert_allclose(share, MOST / 5, atol=90)


def test_embeddings_come_back_by_their_ticket_in_any_order() -> None:
    rng = np.random.default_rng(2)
    sent = [rng.normal(size=(count, EMBEDDING)).astype(np.float32) for count in (3, 0, 5, 1)]
    with EmbeddingShelf() as shelf:
        tickets = [shelf.put(one) for one in sent]
        for place in (2, 0, 3, 1, 2):
            np.testing.assert_array_equal(shelf.get(tickets[place]), sent[place])

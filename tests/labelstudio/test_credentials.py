"""HTTP Basic as it arrives: in the encodings of browsers and of Label Studio."""

from __future__ import annotations

import pytest

from backend.labelstudio.webhooks import can_send, sent_credentials


@pytest.mark.parametrize(
    ("password", "arrives"),
    [
        ("plain", {b"me:plain"}),
        # Latin-1 and UTF-8 differ
        ("gr\xfcn", {b"me:gr\xfcn", "me:gr\xfcn".encode()}),
    ],
)
def test_what_label_studio_can_send_is_let_in_as_it_sends_it(password: str, arrives: set[bytes]) -> None:
    assert can_send("me", password)
    assert set(sent_credentials("me", password)) == arrives


def test_beyond_latin_1_only_browsers_can_send() -> None:
    assert not can_send("me", "k\u013e\xfa\u010dik")
    assert sent_credentials("me", "k\u013e\xfa\u010dik") == ("me:k\u013e\xfa\u010dik".encode(),)

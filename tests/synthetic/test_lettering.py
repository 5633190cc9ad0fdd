"""Lettering: Arabic is joined and reads right to left, every face draws every sign, circles hold their text."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import backend.synthetic
from backend.synthetic.lettering import FONTS, Font, fonts_of, is_arabic, metrics, render, render_on_circle, width_of

ARABIC_FACES = fonts_of(arabic=True)


def pieces(coverage: np.ndarray) -> int:
    """Connected pieces of ink."""
    return cv2.connectedComponents((coverage > 0.3).astype(np.uint8))[0] - 1


@pytest.mark.parametrize("font", ARABIC_FACES, ids=lambda font: font.name)
def test_arabic_letters_are_joined_in_a_word(font: Font) -> None:
    word = "ملحم"  # four letters that all join
    apart = sum(pieces(render(letter, font, 60)) for letter in word)
    assert apart == 4
    assert pieces(render(word, font, 60)) == 1


@pytest.mark.parametrize("font", FONTS, ids=lambda font: font.name)
@pytest.mark.parametrize(
    ("sign", "other"),
    [
        ("ق", "ب"),  # Arabic letters, borrowed where the face has none
        ("٣", "٧"),  # Eastern digits, also where no Arabic letter stands beside them
        ("3", "7"),
        ("é", "ç"),
        ("(", "§"),
    ],
)
def test_every_face_draws_every_sign_as_itself(font: Font, sign: str, other: str) -> None:
    # A missing sign is drawn as the same box whatever it is.
    first, second = render(sign, font, 40), render(other, font, 40)
    assert first.max() > 0.5
    assert second.max() > 0.5
    assert first.shape != second.shape or np.abs(first - second).max() > 0.3


def test_brackets_are_mirrored_in_arabic_and_latin_keeps_its_order() -> None:
    font = ARABIC_FACES[0]
    # In an Arabic line the Latin word stands at the left end when it comes last.
    line = render("عقد ABC", font, 40)
    latin = render("ABC", font, 40)
    width = latin.shape[1] - 20
    assert np.abs(line[:, :width] - latin[:, :width]).max() < 0.35
    # A bracket that opens in logical order opens towards its text: at the right end it is drawn as ')'.
    bracketed, closing = render("(عقد", font, 40), render(")", font, 40)
    right_end = bracketed[:, -closing.shape[1] :]
    assert np.abs(right_end - closing)[:, 14:].max() < 0.5


def test_lines_of_a_face_share_a_baseline() -> None:
    font = FONTS[0]
    ascent, descent = metrics(font, 30)
    for text in ("a", "Agy", "l.,"):
        assert render(text, font, 30).shape[0] == ascent + descent
    flat = render("HIE", font, 30)
    assert flat[:ascent].sum() > 0.97 * flat.sum()


def test_the_ink_of_a_line_stays_within_its_width() -> None:
    for font in fonts_of("serif", "sans", "naskh"):
        line = render("Contract عقد", font, 32)
        assert line.shape[1] == pytest.approx(width_of("Contract عقد", font, 32) + 16, abs=1)
        assert line[:, 0].max() == 0
        assert line[:, -1].max() == 0


@pytest.mark.parametrize("inward", [False, True])
@pytest.mark.parametrize("text", ["شركة الخليج للتجارة", "GULF TRADING CO."])
def test_text_on_a_circle_stays_in_its_band_and_arc(text: str, inward: bool) -> None:
    font, size, radius, centre_angle = ARABIC_FACES[1], 28.0, 130.0, 40.0
    bent = render_on_circle(text, font, size, radius=radius, centre_angle=centre_angle, inward=inward)
    rows, columns = np.nonzero(bent > 0.1)
    x, y = columns - bent.shape[1] // 2, rows - bent.shape[0] // 2
    distance = np.hypot(x, y)
    assert distance.min() >= radius - 0.75 * size
    assert distance.max() <= radius + 0.75 * size
    angle = (np.degrees(np.arctan2(x, -y)) - centre_angle + 180) % 360 - 180
    half = np.degrees(width_of(text, font, size) / radius) / 2
    assert np.abs(angle).max() == pytest.approx(half, abs=6)


def test_bent_arabic_stays_joined() -> None:
    bent = render_on_circle("ملحم", ARABIC_FACES[1], 48, radius=150, centre_angle=0)
    assert pieces(bent) == 1


def test_a_line_longer_than_the_circle_is_squeezed_into_it() -> None:
    bent = render_on_circle("TRADING AND CONTRACTING " * 4, FONTS[2], 30, radius=60, centre_angle=0)
    # The bottom of the circle, opposite the middle of the line, stays free.
    middle = bent.shape[0] // 2
    assert bent[middle + 45 :, middle - 1 : middle + 2].max() < 0.1


def test_arabic_is_told_from_latin_and_from_digits() -> None:
    assert is_arabic("عقد")
    assert is_arabic("No. رقم")
    assert not is_arabic("Contract 12")
    assert not is_arabic("١٢٣")


def test_the_faces_are_small_and_their_licences_lie_beside_them() -> None:
    folder = Path(backend.synthetic.__file__).parent / "fonts"
    files = {path.name for path in folder.iterdir() if path.suffix in (".ttf", ".otf")}
    assert files == {font.file for font in FONTS}
    assert sum((folder / name).stat().st_size for name in files) < 2.5 * 1024 * 1024
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in readme for name in files)
    assert "SIL OPEN FONT LICENSE" in (folder / "OFL.txt").read_text(encoding="utf-8")
    assert "Apache License" in (folder / "Apache-2.0.txt").read_text(encoding="utf-8")

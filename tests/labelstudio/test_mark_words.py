"""Which words of people's label configs stand for which mark."""

import pytest

from backend.labelstudio.mark_words import folded, mark_named


@pytest.mark.parametrize(
    ("label", "mark"),
    [
        # English: singular, plural, synonyms; letter case, separators and an article do not count
        ("signature", "signature"),
        ("Signatures", "signature"),
        ("The Signature", "signature"),
        ("SEAL", "stamp"),
        ("Seals", "stamp"),
        ("company_stamp", "stamp"),
        ("Rubber-Stamp", "stamp"),
        ("Thumb print", "thumb"),
        ("Thumbprints", "thumb"),
        ("finger_print", "thumb"),
        # words that say whose, or of which hand
        ("Notary Seal", "stamp"),
        ("Office stamp", "stamp"),
        ("hand-written signature", "signature"),
        ("Left thumb impression", "thumb"),
        ("Finger impressions", "thumb"),
        ("Stamp impression", "stamp"),
        ("ختم المؤسسة", "stamp"),
        ("بصمة الإبهام الأيمن", "thumb"),
        # Arabic: singular, broken and sound plurals, with and without the article
        ("توقيع", "signature"),
        ("التوقيع", "signature"),
        ("تواقيع", "signature"),
        ("التوقيعات", "signature"),
        ("إمضاء", "signature"),
        ("ختم", "stamp"),
        ("الختم", "stamp"),
        ("أختام", "stamp"),
        ("الأختام", "stamp"),
        ("ختم الشركة", "stamp"),
        ("بصمة", "thumb"),
        ("البصمة", "thumb"),
        ("بصمات", "thumb"),
        ("بصمة الإبهام", "thumb"),
        ("بصمة إصبع", "thumb"),
        # the dual, in both cases
        ("توقيعان", "signature"),
        ("توقيعين", "signature"),
        ("ختمين", "stamp"),
        ("بصمتين", "thumb"),
        # diacritics, tatweel, letter variants, presentation forms
        ("تَوْقِيع", "signature"),
        ("الـتـوقـيـع", "signature"),
        ("توقیع", "signature"),
        ("الامضاء", "signature"),
        ("اختام", "stamp"),
        ("بصمه", "thumb"),
        ("ﺗﻮﻗﻴﻊ", "signature"),
        # "(s)" for a plural, the possessive, numbers and quotes
        ("Signature(s)", "signature"),
        ("Stamp(s) / Seal(s)", "stamp"),
        ("Company's stamp", "stamp"),
        ("Company’s Seal", "stamp"),
        ("1. Signature", "signature"),
        ("signature_2", "signature"),
        ("#2 stamp", "stamp"),
        ("توقيع ٢", "signature"),
        ("«ختم»", "stamp"),
        # what only says how it was made, or of which hand, also in brackets
        ("Signature (handwritten)", "signature"),
        ("Fingerprint (right)", "thumb"),
        ("بصمة (اليد اليمنى)", "thumb"),
        ("Left index fingerprint", "thumb"),
        ("بصمة السبابة", "thumb"),
        ("LTI", "thumb"),
        # two words for one mark
        ("Seal or stamp", "stamp"),
        ("ختم أو مهر", "stamp"),
        # what it looks like, and what it was made with
        ("Wet-ink signature", "signature"),
        ("Full signature", "signature"),
        ("Square stamp", "stamp"),
        ("توقيع بخط اليد", "signature"),
        ("التوقيع الخطّي", "signature"),
        ("توقيع حي (كامل)", "signature"),
        ("توقيع رقم ١", "signature"),
        ("ختم دائري", "stamp"),
        ("صورة الختم", "stamp"),
        ("بصمة حبرية", "thumb"),
        ("بصمة الخنصر", "thumb"),
        ("Fingers", "thumb"),
        ("L.T.I.", "thumb"),
        # what contracts beside Arabic ones say
        ("Signature manuscrite", "signature"),
        ("Cachets", "stamp"),
        ("Tampon / ختم", "stamp"),
        ("Empreinte digitale", "thumb"),
        ("دستخط", "signature"),
        ("مُہر", "stamp"),
        ("مهر", "stamp"),
        ("امضا", "signature"),
        ("انگوٹھا", "thumb"),
        ("اثر انگشت", "thumb"),
        # both languages beside each other
        ("Signature / توقيع", "signature"),
        ("ختم (Stamp)", "stamp"),
        ("بصمة thumb", "thumb"),
        # two marks in one label are none that could be told
        ("Signature / ختم", None),
        ("stamp or signature", None),
        # words around that change the meaning
        ("no signature", None),
        ("signature date", None),
        ("stamp duty", None),
        ("بدون توقيع", None),
        ("left", None),
        ("mark", None),
        ("right mark", None),
        ("signature?", None),
        ("signature ✗", None),
        ("not a stamp", None),
        ("Client signature", None),
        ("ختم المحكمة", None),
        ("توقيع إلكتروني", None),
        ("Signature area", None),
        ("بصمة الختم", None),
        ("مربع التوقيع", None),
        ("رقم الختم", None),
        ("No. 1 signature", None),
        ("توقيع الطرف الأول", None),
        # other things
        ("logo", None),
        ("12", None),
        ("(handwritten)", None),
        ("شعار", None),
        ("ال", None),
        ("", None),
        ("/", None),
    ],
)
def test_a_label_names_its_mark(label, mark):
    assert mark_named(label) == mark


def test_folding_twice_changes_nothing_more():
    for label in ("الإِمْضَاء", "Thumb_Print", "ÉTAMPE", "  a \u200f b "):
        assert folded(folded(label)) == folded(label)

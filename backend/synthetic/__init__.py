"""Drawn contract pages with known boxes: for tests, benchmarks and the bundled weights.

sheet (blank paper) ─► layout, blocks, ornaments (print) ─► marks: signatures, inked_prints ─► paper (wear) ─► scan

`drawn_page` does these steps in a row: begin there. Words come from `texts` and `lexicons`, letters from `lettering`
and `letterforms`. `coco` writes the boxes down.
"""

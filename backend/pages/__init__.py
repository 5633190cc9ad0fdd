"""Pages: a reference in a task → upright RGB pages, within limits.

references (may it be opened?) ─► fetch (its bytes) ─► source (kept for a while, then decoded)
                                                            │ in a process that can be ended:
                                                     decoders ─► workbench ─► headers, raster, tiff, pdfium

`page` is the value that comes out. `encoding` is the way back: pixels → JPEG or PNG. Nothing else in the program opens
or writes an image.
"""

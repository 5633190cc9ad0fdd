"""Frozen, hashed versions of corrected pages: made, checked, compared, measured, and handed out in others' formats.

gathering (annotated tasks → pages) ─► freezing ─► store (a folder that never changes) ─► exporting (COCO, YOLO …)
                                                      │ manifest: what it holds     └► statistics ─► dataset_report
"""

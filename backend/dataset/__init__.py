"""Frozen, hashed versions of corrected pages: made, checked, compared, measured, and handed out in others' formats."""

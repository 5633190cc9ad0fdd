"""Corrections become a better model: material, table, training, gate and promotion; started by events or by hand."""

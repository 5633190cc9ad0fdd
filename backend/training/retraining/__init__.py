"""Corrections become a better model: material, table, training, gate and promotion; started by events or by hand.

starting (is it time?) ─► session (a process of its own) ─► retraining_run:
    gathering_material ─► the training loop ─► candidate ─► gold_trial (the gate) ─► promoted, or refused with reasons
"""

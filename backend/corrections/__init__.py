"""What annotators made of the shown marks: a durable journal of events, turned into samples exactly once.

remembering (what is shown) ─┐
an event ────────────────────┴► intake ─► spool (on disk) ─► journal (in the ledger)
                                                                │ worker
            samples ◄─ outcomes (shown box against annotated box) ◄─ shown, hints, label_history

`service` puts these together; `tables` and `database` are the ledger. `reconciling` asks Label Studio for what no event
told. `memory`, `likeness` and `recall` apply a correction to look-alikes at once; `renewals` has stored predictions
made anew for it. `splits` decides for ever which documents a model may learn from.
"""

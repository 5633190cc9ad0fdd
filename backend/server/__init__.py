"""The HTTP server that Label Studio talks to, and its pages for Prometheus and for a person.

a request: event_worker ─► wire (bytes) ─► lanes (threads) ─► callers (who may ask) ─► routes
                                               │
           predictions ◄─ task_outcomes ◄─ predictor ─► turns (whose page is next)

`application` puts the process together. `announcing` tells Label Studio which version serves; `renewing` has open tasks
predicted anew after a correction. Pages for people: `dashboard`, `status_pages`, and the crop wall in `wall`.
"""

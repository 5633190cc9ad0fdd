"""What a person starts: each command is a module with `add_arguments` and `run`, or a folder that holds one.

- To see it: `demo`, `draw`, `predict`, `redact`.
- To set it up: `connect`, `import`, `doctor`, `completion`.
- To run it: `serve`, `worker`, `sync`, `prelabel`.
- To work with what it made: `select`, `samples`, `review`, `report`, `dataset`.
- To make it better: `train`, `evaluate`, `models`.
"""

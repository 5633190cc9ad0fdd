"""Commands that belong to no part by themselves: each module has `add_arguments` and `run`."""

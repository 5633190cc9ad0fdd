"""What a person starts: each command is a module with `add_arguments` and `run`, or a folder that holds one."""

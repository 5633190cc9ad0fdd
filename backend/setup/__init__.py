"""Setting up: a Label Studio project, its label config, this backend and its webhook, brought together."""

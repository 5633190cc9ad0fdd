"""Weights as files: bundled, published here, from the Hub; and which of them serve.

`published` and `publishing` are the registry: folders that never change, each with the record of how it was made.
`promotion` moves the pointer to the one that serves, and back. `hub` and `hub_files` bring weights from the Hugging
Face Hub; `original_model` is the first of them, which is tried before it serves. `serving` holds the model
of a process, and changes it while requests go on.
"""

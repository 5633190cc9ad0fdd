"""Looks at a set-up, Label Studio and this backend with all that lies between: what is well, what is not, what to do.

It changes nothing: not in Label Studio, and not in the data folder.
"""

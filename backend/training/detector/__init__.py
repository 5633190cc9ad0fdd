"""Trains the detector: the network that finds marks on whole pages."""

"""Trains the refiner: the network that gives a candidate's box its edges."""

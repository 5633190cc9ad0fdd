"""Which annotations the current model doubts, and why: boxes overlooked, swapped or badly placed; worst first."""

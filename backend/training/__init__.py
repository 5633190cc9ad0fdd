"""Crops become classifier weights: harvesting, augmentation, the resumable loop, evaluation, the model card. Needs torch."""

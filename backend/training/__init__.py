"""Crops become classifier weights: harvest, augmentation, resumable loop, evaluation, model card. Needs torch."""

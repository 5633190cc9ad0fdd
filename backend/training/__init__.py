"""Samples and pages become weights that serve. Needs torch.

material: pagestore, harvest, crops ─► batches, augment ─► training_loop ─► export ─► network_publishing

Each network has its recipe, its course in that loop, and its publishing: the classifier here, the `detector` and the
`refiner` in folders of their own. `fusion` fits how much the detector's word counts beside the classifier's. `bundled`
makes the weights that come with the program. `quantise` puts networks into whole numbers, and `parity` says what that
changed. `retraining` does all this with annotators' samples, and by itself.
"""

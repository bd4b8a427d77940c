"""Auto-Encoding Variational Bayes (Kingma & Welling, arXiv:1312.6114), reproduced.

Data flows one way: `data → learners → training → results → comparison → figures`. A run is
described in `training.experiments` and trained by `training.job`, with the networks and the bound
of `model` and one of the `learners`. Nothing lower imports anything higher.
"""

"""Auto-Encoding Variational Bayes (Kingma & Welling, arXiv:1312.6114), reproduced.

Data flows one way: `data → train → curves → figures`. A run, described by `experiments`, is
built by `runner` from `networks`, `bound` and one of the `learners`; nothing lower imports
anything higher.
"""

"""Densities, networks and the bound of the paper, and the linear-Gaussian model with known answers.

Knows no learning rule.
"""

"""Densities, networks and the bound, and the linear-Gaussian model. Knows no learning rule."""

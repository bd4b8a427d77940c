"""Hamiltonian Monte Carlo, and the estimators of log p(x) that build on it."""

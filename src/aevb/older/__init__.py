"""Older generative models of MNIST: learners of the same protocol, one file each."""

"""Usual mistakes in VAE code, each trained, so that its curve can be recognised."""

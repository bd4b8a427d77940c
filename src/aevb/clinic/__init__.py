"""Usual mistakes in VAE code, each trained, so that curves with it can be recognised."""

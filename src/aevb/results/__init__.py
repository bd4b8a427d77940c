"""Curve files and model files, their manifests, and how they are published and cited."""

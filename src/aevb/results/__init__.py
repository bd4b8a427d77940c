"""Curves and models as files, with their manifests; publishing and citing."""

"""Ours against the paper's, fresh against published, and the paper's claims."""

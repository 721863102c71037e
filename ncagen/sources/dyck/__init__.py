"""Rows of bracket words, of k types that nest (k-Dyck) or interleave (k-shuffle-Dyck)."""

"""Exports a dataset to the files that other trainers read: one module per format, one engine that writes them all."""

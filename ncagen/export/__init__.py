"""A dataset in the files that other trainers read: one module a format, one engine that writes them all."""

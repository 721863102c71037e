"""The reader matrix: each reader under each loader and trainer, in each situation, against the order's pure function.

    oracle        the row numbers that a pass must give, in plain Python
    ledger        what was compared, refused or impossible, and how failures are printed
    subjects      readers under torch's DataLoader and torchdata's StatefulDataLoader, behind one interface
    situations    what is done with a subject, and what it must give

tests/test_reader_matrix.py runs the cells that torch and torchdata suffice for; tests/conformance/checks/matrix_*.py
those of the trainers, each in its own way, with the same oracle.
"""

"""The fault matrix: each test does a build one harm and holds what comes of it against an undisturbed one.

`oracle` says what is right, `observer` reads along as another program would, `processes` starts and stops builds, and
`inject` harms them from within at a chosen step. docs/faults.md is the table of all; `test_table` keeps it whole.
"""

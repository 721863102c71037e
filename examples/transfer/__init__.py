"""Trains models in three stages, synthetic rows, text, instructions, for several arms and seeds, and compares them.

An example for users of ncagen, not a part of the package. README.md explains the file that describes an experiment.

    __main__    the command: run, check, report
    settings    what an experiment is, as dataclasses; read: from its TOML file; presets.toml: sizes
    check       what is on disk fits: budgets, vocabularies, files, checkpoints; nothing is trained before
    rows        batches of datasets; instructions: batches of prompts and answers
    model       a Llama of a preset; parts: its parameters by module and layer; handover: from stage to stage
    loss        sums of losses, and one step of training; train: the loop of one run; runs: its folder and files
    evaluate    the validation loss, and the rung of the ladder that it reaches
    stages      the three stages of one arm and seed; experiment: all arms and seeds
    tasks       lm-evaluation-harness on local files
    figures     numbers over seeds; page: one page of HTML; paper: what the paper reports
"""

"""Scores a model of transformers by tasks of lm-evaluation-harness, whose data are local files.

A task is one of the harness, such as gsm8k, or one that a folder of yours defines. Its data are JSON Lines: a file, or,
for prompts with examples of another split, a folder with train.jsonl, validation.jsonl and test.jsonl.
Nothing is downloaded. HumanEval runs what the model writes: set HF_ALLOW_CODE_EVAL=1, and have the metric code_eval of
the package evaluate in its cache.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from ncagen import NcagenError
from transfer.instructions import end_of
from transfer.settings import TuneStage

SPLITS = ("train", "validation", "test")


def scores(model: Path, stage: TuneStage, device: str, precision: str) -> dict[str, float]:
    """The figures of all tasks by "task metric", such as "gsm8k exact_match,strict-match"."""
    manager, listed = _listed(stage)
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    found = simple_evaluate(
        HFLM(str(model), device=device, dtype=precision, batch_size=stage.training.micro),
        tasks=[listed],
        num_fewshot=stage.few,
        limit=stage.limit or None,
        task_manager=manager,
        log_samples=False,
        confirm_run_unsafe_code=os.environ.get("HF_ALLOW_CODE_EVAL") == "1",
    )
    return {
        f"{task} {metric}": round(float(value), 6)
        for task, metrics in found["results"].items()
        for metric, value in metrics.items()
        if isinstance(value, int | float) and "stderr" not in metric and metric != "sample_len"
    }


def check(where: str, stage: TuneStage) -> None:
    """Loads the tasks and their data, and runs none. Raises NcagenError."""
    manager, listed = _listed(stage)
    for task in listed["task"]:
        if task["task"] not in manager.all_tasks:
            raise NcagenError(f"{where} task {task['task']!r} is not known to lm_eval: see `lm_eval ls tasks`")
        try:
            manager.load([listed | {"task": [task]}])
        except Exception as error:  # of any kind: definitions of tasks are code of others
            said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise NcagenError(f"{where} task {task['task']!r} cannot be loaded: {said}") from None


def _listed(stage: TuneStage) -> tuple[Any, dict[str, Any]]:
    """The harness' manager of tasks, and the stage's tasks as a group of it."""
    members = [_task(name, Path(path)) for name, path in stage.tasks.items()]
    return _manager(stage.task_folder or None), {"group": "transfer", "task": members}


@cache
def _manager(folder: str | None) -> Any:
    """The manager that knows a folder's tasks too; it reads thousands of files when it is made."""
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=folder)


def save_tokenizer(tokenizer: Path | str, model: Path) -> None:
    """Puts a tokenizer into a model's folder, where from_pretrained finds it."""
    read = Tokenizer.from_file(str(tokenizer))
    end = read.id_to_token(end_of(read, tokenizer))
    PreTrainedTokenizerFast(tokenizer_object=read, eos_token=end, pad_token=end).save_pretrained(model)


def _task(name: str, path: Path) -> dict[str, Any]:
    """A task with local files in place of its dataset on the Hub."""
    data = {split: str(file.resolve()) for split, file in files_of(path).items()}
    return {"task": name, "dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": data}}


def files_of(path: Path) -> dict[str, Path]:
    """The files of a task's splits; a single file is each of them, since tasks name one for examples in any case."""
    if path.is_file():
        return dict.fromkeys(SPLITS, path)
    return {split: file for split in SPLITS if (file := path / f"{split}.jsonl").exists()}

"""What the checks of Ray Train share: a node on this machine whose workers import ncagen and the checks."""

import os
from pathlib import Path

import ray


def start_ray(workers: int) -> None:
    """Starts Ray with a core for each worker and one more."""
    os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
    paths = os.pathsep.join([os.environ["PYTHONPATH"], str(Path(__file__).parent)])
    variables = {"PYTHONPATH": paths, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    ray.init(num_cpus=workers + 1, include_dashboard=False, runtime_env={"env_vars": variables})

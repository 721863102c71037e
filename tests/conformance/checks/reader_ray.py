"""Ray Data."""

import numpy as np
import ray
from reader_common import COLUMNS, check, paths, stacked


def read(pattern: str) -> dict:
    rows = ray.data.read_parquet(paths(pattern)).sort("candidate")
    batches = list(rows.iter_batches(batch_size=100, batch_format="numpy"))
    found = {name: np.concatenate([batch[name] for batch in batches]) for name in COLUMNS[1:]}
    return found | {"input_ids": np.concatenate([stacked(batch["input_ids"]) for batch in batches])}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    ray.data.DataContext.get_current().enable_progress_bars = False
    check("ray", "ray.data.read_parquet, batches of NumPy", read)

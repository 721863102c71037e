#!/bin/sh
# litdata 0.2.76: a dataset behind an http:// endpoint (MinIO, a test server) cannot be read, although storage_options
# takes the endpoint_url: index.json comes through boto3, chunks through obstore, which this version requires and opens
# with client options that do not allow HTTP. AWS_ALLOW_HTTP=true does not help. With "allow_http" among those options,
# which only a change of a private name can add, the rows are read.
# Observed: "BadScheme" as released, then 100 rows with the option. Exits 0 if so.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 litdata==0.2.76 "moto[s3,server]==5.2.2"
cat > "$work/try.py" <<'PROGRAM'
import os
import sys
from importlib.metadata import version
from pathlib import Path

import boto3
import numpy as np
from litdata import StreamingDataset, optimize
from litdata.streaming import downloader
from moto.server import ThreadedMotoServer

os.environ |= {"AWS_ALLOW_HTTP": "true", "AWS_EC2_METADATA_DISABLED": "true"}


def row(number):
    return np.full(8, number)


def read(cache):
    options = {"endpoint_url": endpoint, "region_name": "us-east-1", **keys}
    return len(list(StreamingDataset("s3://bucket/rows", cache_dir=cache, storage_options=options)))


if __name__ == "__main__":
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    optimize(row, list(range(100)), output_dir="rows", chunk_size=50, num_workers=1)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="bucket")
    for path in Path("rows").iterdir():
        client.upload_file(str(path), "bucket", f"rows/{path.name}")
    print("litdata", version("litdata"), "obstore", version("obstore"), "endpoint", endpoint)
    try:
        failed = f"{read('first')} rows"
    except Exception as error:
        failed = str(error)
    print("as released:", failed.replace("\n", " ")[:400])
    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = "true"
    rows = read("second")
    print("with allow_http:", rows, "rows")
    sys.stdout.flush()
    os._exit(0 if "BadScheme" in failed and rows == 100 else 1)
PROGRAM
cd "$work" && "$work/venv/bin/python" try.py

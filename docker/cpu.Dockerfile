# The CPU image. From the root of the repository:
#   docker build -f docker/cpu.Dockerfile -t ncagen .
FROM python:3.11.14-slim-trixie

# Into the system's Python and no virtual environment: KubeRay starts Ray in a login shell, which resets PATH.
# ray[default] adds 98 MB to ray: the server that KubeRay submits jobs to and asks whether a node is well.
RUN --mount=type=bind,target=/src --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint /src/constraints.txt '/src[build,hub,ray]' 'ray[default]'

# The kernels are compiled for the processor that they run on, so not here: the first command in a new container takes
# about 20 seconds for it, and keeps them in a folder that any user may make.
ENV NUMBA_CACHE_DIR=/tmp/numba RAY_USAGE_STATS_ENABLED=0

RUN useradd --uid 1000 --create-home ncagen && install --directory --owner=ncagen /data
USER 1000
WORKDIR /data
ENTRYPOINT ["ncagen"]

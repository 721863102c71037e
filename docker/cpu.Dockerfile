# The CPU image. From the root of the repository:
#   docker build -f docker/cpu.Dockerfile -t ncagen .
FROM python:3.11.14-slim-trixie

# Installs into the system's Python, without a virtual environment: KubeRay starts Ray in a login shell, which resets PATH.
# ray[default] adds 98 MB to ray: the server to which KubeRay submits jobs, and which it probes for the health of nodes.
RUN --mount=type=bind,target=/src --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint /src/constraints.txt '/src[build,hub,ray,s3]' 'ray[default]'

# The kernels are compiled for the processor that runs them, so not here: the first command in a new container compiles
# them in about 20 seconds, and caches them in a folder that any user can create.
ENV NUMBA_CACHE_DIR=/tmp/numba RAY_USAGE_STATS_ENABLED=0

RUN useradd --uid 1000 --create-home ncagen && install --directory --owner=ncagen /data
USER 1000
WORKDIR /data
ENTRYPOINT ["ncagen"]

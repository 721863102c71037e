# The CUDA image: the CPU image, torch, whose wheels for Linux contain the CUDA libraries, and cuda-bindings, which calls
# them. The machine needs only the NVIDIA driver and container toolkit. After the CPU image, from the root of the
# repository:
#   docker build -f docker/cuda.Dockerfile -t ncagen-cuda .
ARG CPU_IMAGE=ncagen
FROM ${CPU_IMAGE}

USER 0
RUN --mount=type=bind,source=constraints.txt,target=/src/constraints.txt --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint /src/constraints.txt torch cuda-bindings
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000

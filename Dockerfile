# syntax=docker/dockerfile:1
# Two images from one file: `api` (no torch, some 250 MB) and `worker`.
#   docker build --target api -t trainyard-api .
#   docker build --target worker --build-arg TORCH=cpu -t trainyard-worker:cpu .     # or TORCH=cuda
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS base
ENV PATH=/opt/trainyard/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

FROM base AS build
RUN python -m venv /opt/trainyard
WORKDIR /src
COPY pyproject.toml constraints.txt README.md ./
COPY core core

FROM build AS build-api
COPY api api
COPY migrations migrations
COPY trainyard trainyard
RUN pip install -c constraints.txt ".[server]"

FROM build AS build-worker
ARG TORCH=cuda
# torch before everything else, so that a change of our code does not fetch it again.
RUN case "$TORCH" in \
      cpu) pip install --no-deps --index-url https://download.pytorch.org/whl/cpu "torch==2.13.0+cpu" ;; \
      cuda) pip install -c constraints.txt "torch==2.13.0" ;; \
      *) echo "TORCH is cpu or cuda, not $TORCH" >&2; exit 1 ;; \
    esac
COPY trainer trainer
COPY worker worker
COPY trainyard trainyard
RUN pip install -c constraints.txt ".[worker]"

FROM base AS run
# The folder that volumes are mounted below belongs to the user, so that fresh volumes do too.
RUN useradd --uid 10001 --user-group --home-dir /var/lib/trainyard --create-home --shell /usr/sbin/nologin trainyard \
    && install -d -o trainyard -g trainyard -m 0700 /var/lib/trainyard/bytes /var/lib/trainyard/node
WORKDIR /var/lib/trainyard
USER trainyard

FROM run AS worker
COPY --from=build-worker /opt/trainyard /opt/trainyard
# SIGTERM drains: the ranks write a checkpoint, the jobs are given back, then it ends. It reaps orphans, so it may be PID 1.
CMD ["python", "-m", "worker"]

FROM run AS api
COPY --from=build-api /opt/trainyard /opt/trainyard
EXPOSE 8000
CMD ["python", "-m", "api", "serve"]

# syntax=docker/dockerfile:1
# Two targets: `docker build --target cpu .` (default) and `docker build --target cuda .`.
# The image holds no configuration: mount /etc/whyray (whyray.yaml, packages) and /var/lib/whyray (state).
# Base images by tag: what digest a tag has, only the registry knows. deploy/pin-images.sh asks it, and compose hands it over.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
ARG CUDA_IMAGE=nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY service service
COPY dicom_templates dicom_templates
COPY deploy/constraints.txt deploy/constraints.txt
RUN python -m venv /opt/whyray

FROM build AS build-cpu
RUN /opt/whyray/bin/pip install --constraint deploy/constraints.txt torch==2.13.0 \
 && /opt/whyray/bin/pip install --constraint deploy/constraints.txt '.[cpu,postgres,tracing]'

FROM build AS build-cuda
# onnxruntime-gpu instead of, never beside, onnxruntime
RUN /opt/whyray/bin/pip install --constraint deploy/constraints.txt torch==2.13.0 \
 && /opt/whyray/bin/pip install --constraint deploy/constraints.txt '.[gpu,postgres,tracing]'

FROM ${CUDA_IMAGE} AS cuda-base
# the virtual environment was made for Debian's Python 3.11: it brings that interpreter along, but not what it links to
# hadolint ignore=DL3008  # libraries that an interpreter links to: the distribution gives one version, with its security mends
RUN apt-get update \
 && apt-get install --yes --no-install-recommends \
      ca-certificates libbz2-1.0 libexpat1 libffi8 liblzma5 libncursesw6 libreadline8t64 libsqlite3-0 libssl3t64 libuuid1 zlib1g \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/local/bin/python3.11 /usr/local/bin/python3.11
COPY --from=build /usr/local/lib/libpython3.11.so.1.0 /usr/local/lib/libpython3.11.so.1.0
COPY --from=build /usr/local/lib/python3.11 /usr/local/lib/python3.11
RUN ln -s python3.11 /usr/local/bin/python3 && ln -s python3.11 /usr/local/bin/python && ldconfig

FROM ${PYTHON_IMAGE} AS cpu-base

FROM cuda-base AS cuda
COPY --from=build-cuda /opt/whyray /opt/whyray
ENV PATH=/opt/whyray/bin:$PATH PYTHONUNBUFFERED=1 WHYRAY_CONFIG=/etc/whyray/whyray.yaml
# the root may be read-only: what libraries cache goes where it is lost at the end
ENV MPLCONFIGDIR=/tmp NUMBA_CACHE_DIR=/tmp PYTHONDONTWRITEBYTECODE=1
RUN useradd --system --uid 10001 --home-dir /var/lib/whyray --create-home whyray
USER 10001
WORKDIR /var/lib/whyray
VOLUME ["/var/lib/whyray"]
EXPOSE 11112 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["whyray", "status", "--quiet"]
ENTRYPOINT ["whyray"]
CMD ["serve"]

FROM cpu-base AS cpu
COPY --from=build-cpu /opt/whyray /opt/whyray
ENV PATH=/opt/whyray/bin:$PATH PYTHONUNBUFFERED=1 WHYRAY_CONFIG=/etc/whyray/whyray.yaml
# the root may be read-only: what libraries cache goes where it is lost at the end
ENV MPLCONFIGDIR=/tmp NUMBA_CACHE_DIR=/tmp PYTHONDONTWRITEBYTECODE=1
RUN useradd --system --uid 10001 --home-dir /var/lib/whyray --create-home whyray
USER 10001
WORKDIR /var/lib/whyray
VOLUME ["/var/lib/whyray"]
EXPOSE 11112 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["whyray", "status", "--quiet"]
ENTRYPOINT ["whyray"]
CMD ["serve"]

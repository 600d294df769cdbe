# docker build -t pocketprune .
# docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" pocketprune run my_config.yaml
#
# BASE          any Debian-like image; one without Python gets Debian's own (3.13 in trixie)
# TORCH_INDEX   where torch and torchvision come from, both: a CPU build of one does not work with a CUDA build of the
#               other. Empty takes the ordinary index (6 GB more, with CUDA).
ARG BASE=python:3.12-slim
FROM ${BASE}
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      adb ca-certificates $(command -v python3 >/dev/null || echo python3 python3-venv) \
 && rm -rf /var/lib/apt/lists/*

ENV PATH=/opt/pocketprune/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/pocketprune \
 && pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch torchvision

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY device_bench device_bench
COPY pipeline pipeline
RUN pip install . && pocketprune --help >/dev/null

RUN useradd --create-home pocketprune && mkdir /data && chown pocketprune /data
USER pocketprune
WORKDIR /data
ENTRYPOINT ["pocketprune"]
CMD ["--help"]

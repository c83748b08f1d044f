# docker build -t nst-jax .                            for CPUs, with what `nst-jax demo` paints
# docker build -t nst-jax --build-arg EXTRA=cuda .     for GPUs of NVIDIA, run with --gpus all
# docker run --rm -v nst-jax:/cache -v "$PWD:/pictures" -u "$(id -u):$(id -g)" nst-jax \
#     stylize photo.jpg painting.jpg
FROM python:3.12-slim

# an extra of pyproject.toml, or several, parted by commas; CUDA's libraries come as packages
ARG EXTRA=demo
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY nst_jax nst_jax
RUN pip install --no-cache-dir ".[${EXTRA}]"

# weights that were fetched and compiled programs, for whichever user
ENV HOME=/cache
RUN mkdir -m 1777 /cache
VOLUME /cache

WORKDIR /pictures
ENTRYPOINT ["nst-jax"]

# One image for CPUs and GPUs: PyPI's torch includes the CUDA libraries.
#
#     docker build -t vocoder .
#     docker run --rm -v "$PWD:/home/vocoder/project" --user "$(id -u):$(id -g)" --gpus all --shm-size 2g \
#         vocoder vocoder-train --help
#
# Omit `--gpus all` on a machine without a GPU. The data loader's worker processes need the shared memory.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    # must be writable for any --user
    NUMBA_CACHE_DIR=/tmp/numba \
    MPLCONFIGDIR=/tmp/matplotlib

RUN useradd --create-home vocoder
WORKDIR /home/vocoder/source

# The dependencies are gigabytes and rarely change: a separate layer, which stays cached when the code changes.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > /tmp/requirements.txt \
    && pip install -c constraints.txt -r /tmp/requirements.txt \
    && rm /tmp/requirements.txt

COPY README.md LICENSE ./
COPY configs configs
COPY vocoder vocoder
RUN pip install --no-deps .

USER vocoder
WORKDIR /home/vocoder/project
CMD ["vocoder-synthesize", "--help"]

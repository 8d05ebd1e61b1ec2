# One image for CPUs and GPUs: PyPI's torch brings its CUDA libraries along.
#
#     docker build -t vocoder .
#     docker run --rm -v "$PWD:/home/vocoder/project" --user "$(id -u):$(id -g)" --gpus all --shm-size 2g \
#         vocoder vocoder-train --help
#
# Leave out `--gpus all` on a machine without a GPU. The shared memory is for the data loader's workers.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    # whoever runs the image, these must be writable
    NUMBA_CACHE_DIR=/tmp/numba \
    MPLCONFIGDIR=/tmp/matplotlib

RUN useradd --create-home vocoder
WORKDIR /home/vocoder/source

# The dependencies are gigabytes and change seldom: a layer of their own, which editing the code leaves alone.
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

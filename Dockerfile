# CodecTrace in a container; docs/predict.md#in-a-container has the commands.
#   docker build -t codectrace .                                CPU
#   docker build -t codectrace --build-arg TORCH=cu128 .        NVIDIA GPU: the CUDA of the wheels of PyTorch
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

WORKDIR /codectrace
COPY requirements.txt ./

# The pins of torch come from requirements.txt; only the build of torch depends on TORCH. The wheels of soundfile and av
# bring libsndfile and FFmpeg, so nothing else has to be installed.
ARG TORCH=cpu
RUN grep '^torch' requirements.txt > torch.txt \
    && pip install --no-cache-dir --index-url "https://download.pytorch.org/whl/${TORCH}" -r torch.txt \
    && pip install --no-cache-dir -r requirements.txt \
    && rm torch.txt

COPY . .

# Any user may run it (docker run --user), also one without a home folder. 65534 is nobody.
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1
USER 65534:65534

ENTRYPOINT ["python"]
CMD ["predict.py", "--help"]

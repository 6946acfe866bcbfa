# CodecTrace in a container; docs/predict.md#in-a-container has the commands.
#   docker build -t codectrace .                                     the usual wheels of PyTorch: NVIDIA GPU and CPU
#   docker build -t codectrace --build-arg TORCH_INDEX=URL .         those of another index, such as for CPU only
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

WORKDIR /codectrace
COPY requirements.txt ./

# The pins of torch come from requirements.txt; TORCH_INDEX says only where it comes from. The wheels of soundfile and av
# bring libsndfile and FFmpeg, so nothing else has to be installed.
ARG TORCH_INDEX=
RUN grep '^torch' requirements.txt > torch.txt \
    && pip install --no-cache-dir ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} -r torch.txt \
    && pip install --no-cache-dir -r requirements.txt \
    && rm torch.txt

COPY . .

# Any user may run it (docker run --user), also one without a home folder. 65534 is nobody.
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1
USER 65534:65534

ENTRYPOINT ["python"]
CMD ["predict.py", "--help"]

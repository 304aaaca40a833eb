# The image of every command of driftgauge: run (the default), deliver, gateway and the others.
#
#   docker build --tag driftgauge:0.1.0 .
#
# It holds no settings and no secrets: docs/deployment.md says how both come in. Nothing but /var/lib/driftgauge is
# written, so the root file system can be read-only (docker run --read-only).

# Pinned to a minor version of Python and a release of Debian; a new build brings their security fixes.
ARG PYTHON=3.13-slim-trixie

FROM python:${PYTHON} AS build
# Extras of pyproject.toml: PostgreSQL as the store and the gateway; also apprise, fsspec (with s3fs or others), topics.
ARG EXTRAS=gateway,postgres
# without pip, which an image that is only run does not need
RUN python -m venv --without-pip /opt/driftgauge
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY config config
COPY models models
COPY connectors connectors
COPY agent agent
# Every dependency has a wheel, so there is no compiler. The bytecode is made here, because nothing can be written later,
# and the tests of libraries, some 60 MB, are left out. (hadolint asks for a version, which a folder has not.)
# hadolint ignore=DL3013
RUN pip --python /opt/driftgauge/bin/python install --no-cache-dir ".[${EXTRAS}]" \
    && find /opt/driftgauge -type d -name tests -prune -exec rm -r {} +

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="driftgauge" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/driftgauge /opt/driftgauge
# a volume that is mounted here for the first time takes over this owner
RUN install --directory --owner=65532 --group=65532 --mode=0750 /var/lib/driftgauge
ENV PATH=/opt/driftgauge/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    HEALTH_URL=http://127.0.0.1:9464/healthz
# by number, so that Kubernetes can see that it is not root
USER 65532:65532
# relative paths of the settings, such as that of the default store, lead to the volume
WORKDIR /var/lib/driftgauge
VOLUME /var/lib/driftgauge
EXPOSE 9464
# HEALTH_URL names the page of another command; Kubernetes has probes of its own and ignores this
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(os.environ['HEALTH_URL'], timeout=8)"]
ENTRYPOINT ["driftgauge"]
CMD ["run"]

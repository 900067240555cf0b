# One image, two commands: `serve` (listener, clock, workers) and `work` (a worker alone).
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY node node
COPY inference inference
COPY training training
COPY db db
# Only what serving needs: the lock without the packages of training, tests and checks. What
# installs packages does not go into the image.
COPY scripts/runtime-requirements.sh ./
RUN python -m venv /opt/petct-node \
 && /opt/petct-node/bin/pip install --no-cache-dir 'setuptools==84.2.1' 'wheel==0.48.0' \
 && sh runtime-requirements.sh requirements.lock > runtime.lock \
 && /opt/petct-node/bin/pip install --no-cache-dir -r runtime.lock \
 && /opt/petct-node/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
 && /opt/petct-node/bin/pip uninstall --yes setuptools wheel pip

FROM python:3.11-slim-bookworm
# The node needs no root and no capability: it listens above 1024, and it writes only below
# /var/lib/petct-node. No part of the image belongs to its user, so that it cannot change it.
RUN useradd --system --uid 10001 --user-group --shell /usr/sbin/nologin \
    --home-dir /var/lib/petct-node --create-home petct
COPY --from=build /opt/petct-node /opt/petct-node
ENV PATH=/opt/petct-node/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_WAIT_POLICY=PASSIVE
WORKDIR /var/lib/petct-node
USER 10001:10001
VOLUME ["/var/lib/petct-node"]
# 11112: DICOM; 2762: DICOM over TLS, where listener.tls.port says so.
EXPOSE 11112 2762
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s \
  CMD ["petct-node", "check", "--config", "/etc/petct-node/config.yaml", "--quick"]
ENTRYPOINT ["petct-node"]
CMD ["serve", "--config", "/etc/petct-node/config.yaml"]

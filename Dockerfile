# One image, two commands: `serve` (listener, clock, workers) and `work` (a worker alone).
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY node node
COPY inference inference
COPY training training
COPY db db
# Only what serving needs: the lock without the packages of training, tests and checks.
COPY scripts/runtime-requirements.sh ./
RUN python -m venv /opt/petct-node \
 && /opt/petct-node/bin/pip install --no-cache-dir 'setuptools>=77' wheel \
 && sh runtime-requirements.sh requirements.lock > runtime.lock \
 && /opt/petct-node/bin/pip install --no-cache-dir -r runtime.lock \
 && /opt/petct-node/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
# The node needs no root: it listens above 1024 and writes only below /var/lib/petct-node.
RUN useradd --system --uid 10001 --home-dir /var/lib/petct-node --create-home petct
COPY --from=build /opt/petct-node /opt/petct-node
ENV PATH=/opt/petct-node/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_WAIT_POLICY=PASSIVE
WORKDIR /var/lib/petct-node
USER 10001
VOLUME ["/var/lib/petct-node"]
EXPOSE 11112
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s \
  CMD ["petct-node", "check", "--config", "/etc/petct-node/config.yaml", "--quick"]
ENTRYPOINT ["petct-node"]
CMD ["serve", "--config", "/etc/petct-node/config.yaml"]

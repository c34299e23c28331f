# docker build -t jobqueue . && docker run -p 8080:8080 -v jobqueue:/data jobqueue

# The environment is made in one stage, with pip and hashes, and copied into the other, without either.
FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/jobqueue
WORKDIR /src
COPY requirements.lock ./
RUN pip --python /opt/jobqueue install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY jobqueue ./jobqueue
RUN pip --python /opt/jobqueue install --no-deps --no-build-isolation . \
    && pip --python /opt/jobqueue uninstall --yes flit_core

FROM python:3.13-slim
COPY --from=build /opt/jobqueue /opt/jobqueue
# Above a RUN: some engines take a LABEL from their cache although its argument has changed, none does so with a RUN.
ARG VERSION=0.1.0
ARG REVISION=unknown
# The one place that is written to; a new volume takes its owner from here.
RUN install -d -m 0700 -o 10001 -g 10001 /data
LABEL org.opencontainers.image.title="jobqueue" \
      org.opencontainers.image.description="A job server driven by plain HTTP: one command, no broker, and no accepted job is lost." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="python:3.13-slim"
ENV PATH=/opt/jobqueue/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=1 \
    JOBQUEUE_HOST=0.0.0.0 JOBQUEUE_AUTH=open JOBQUEUE_STORE=sqlite:/data/jobqueue.db
VOLUME /data
WORKDIR /data
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["jobqueue", "health"]
ENTRYPOINT ["jobqueue"]
CMD ["serve"]

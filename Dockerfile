# headstream in a container: README.md and docs/batch.md, "In a container". For x86-64: MediaPipe has no wheels for Linux on ARM.
FROM python:3.12-slim-bookworm AS base

# What OpenCV and MediaPipe link to, as README.md and `headstream doctor` name it.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libegl1 libgles2 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# Which of pyproject.toml's optional dependencies come along, separated by commas: --build-arg EXTRAS=studio,cluster
ARG EXTRAS=""

# The dependencies, of a package that is empty yet: this layer stays as it is where only the code changes.
COPY pyproject.toml constraints.txt /tmp/empty/
RUN cd /tmp/empty \
    && mkdir headstream models \
    && echo '__version__ = "0"' > headstream/__init__.py \
    && touch README.md LICENSE NOTICE \
    && pip install -c constraints.txt ".${EXTRAS:+[$EXTRAS]}" \
    && pip uninstall -y headstream \
    && rm -rf /tmp/empty


FROM base AS program
COPY . /src
RUN pip install --no-deps --prefix /program /src


FROM base
# Anybody may run it (--user), also who has no name in here, and where no folder but /tmp can be written to
# (--read-only --tmpfs /tmp): libraries look for a home and ask who is at work.
ENV HOME=/tmp USER=headstream
RUN install -d -m 1777 /work
WORKDIR /work
COPY --from=program /program /usr/local
USER 1000:1000

# No shell in between: SIGTERM and SIGINT reach headstream itself, which ends its files and then itself.
ENTRYPOINT ["headstream"]
CMD ["--help"]

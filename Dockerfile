# The image of operator, gateway and built-in agent: `docker build -t laneway .`
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
COPY requirements.lock /build/
# Wheels only, and only those whose hash the lock file knows: nothing is compiled or resolved here.
RUN python -m pip install --no-cache-dir --no-compile --disable-pip-version-check \
    --require-hashes --no-deps --only-binary=:all: --target /app/site -r /build/requirements.lock \
 && rm -rf /app/site/bin
COPY operator/laneway /app/laneway
# Compiled here, because the pods' file systems are read-only; unchecked, because nothing changes the sources later.
RUN python -m compileall -q -j0 --invalidation-mode unchecked-hash /app

FROM ${PYTHON_IMAGE}
COPY --from=build /app /app
ENV PYTHONPATH=/app:/app/site PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
WORKDIR /app
ENTRYPOINT ["python3", "-m", "laneway"]

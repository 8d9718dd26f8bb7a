# A server of a run: see docs/serving.md.
FROM python:3.12-slim

WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY recipes recipes
COPY transferkit transferkit
RUN pip install --no-cache-dir ".[serve]"

# without rights, and the cache folder where a container without a writable disk has one
RUN useradd --create-home --uid 10001 server
USER server
WORKDIR /home/server
ENV TRANSFERKIT_HOME=/tmp/transferkit MPLCONFIGDIR=/tmp/matplotlib PYTHONUNBUFFERED=1

EXPOSE 8000
HEALTHCHECK --start-period=60s --interval=30s --timeout=5s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
STOPSIGNAL SIGINT
ENTRYPOINT ["transferkit", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["/model"]

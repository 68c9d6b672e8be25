# The page as a service. Build it in a checkout, and run it with nothing to write to but memory:
#
#   docker build -t dfer .
#   docker run --read-only --tmpfs /tmp:size=2g --cap-drop ALL --security-opt no-new-privileges -p 7860:7860 dfer
#
# docs/how-to/serve.md lists the variables that set its limits, for `docker run --env`.
FROM python:3.12-slim

# Packages, whatever pip's own variables say of where they come from, such as PIP_EXTRA_INDEX_URL for a torch without CUDA.
ARG PIP_EXTRA_INDEX_URL

WORKDIR /srv/dfer
COPY pyproject.toml README.md LICENSE dfer_cli.py dfer_inputs.py dfer_start.py app.py ./
COPY dfer_hf dfer_hf
COPY page page
COPY model_cards model_cards
COPY examples examples
RUN pip install --no-cache-dir ".[app,mcp]" && rm -rf dfer_hf model_cards examples

RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent dfer
USER 10001

# Python writes nothing beside its files, uploads lie in memory until they are deleted, and nothing asks the network.
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    HF_HOME=/tmp/huggingface \
    HF_HUB_OFFLINE=1 \
    GRADIO_TEMP_DIR=/tmp \
    GRADIO_ANALYTICS_ENABLED=False \
    GRADIO_SERVER_NAME=0.0.0.0

EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/health', timeout=4)"]
CMD ["python", "app.py", "--port", "7860"]

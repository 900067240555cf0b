#!/bin/sh
# Prints requirements.lock without what only training, tests and checks need.
set -eu
left_out='^(torch|monai|onnx|onnxscript|onnx-ir|scikit-learn|joblib|narwhals|threadpoolctl|dcmqi|hypothesis|sortedcontainers|import-linter|grimp|mypy|mypy-extensions|librt|ast-serialize|pathspec|pytest|pytest-xdist|execnet|iniconfig|pluggy|ruff|scipy-stubs|optype|numpy-typing-compat|types-pyyaml|atheris|fsspec|networkx|sympy|mpmath|filelock|ml-dtypes|cloudpickle|lifelines|autograd|autograd-gamma|formulaic|interface-meta|wrapt|pandas|pytz|matplotlib|contourpy|cycler|fonttools|kiwisolver|pyparsing|statsmodels|patsy|dcurves|mlstatkit|tqdm|jinja2|weasyprint|brotli|cffi|cssselect2|pycparser|pydyf|pyphen|tinycss2|tinyhtml5|webencodings|zopfli)=='
# A package is a line that begins it, and the lines of its hashes, which are indented.
awk -v left_out="$left_out" '/^[^ ]/ { keep = tolower($1) !~ left_out } keep' "$1"

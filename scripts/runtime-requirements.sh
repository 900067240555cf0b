#!/bin/sh
# Prints requirements.lock without what only training, tests and checks need.
set -eu
grep -viE '^(torch|monai|onnx|onnxscript|onnx-ir|scikit-learn|joblib|narwhals|threadpoolctl|dcmqi|hypothesis|sortedcontainers|import-linter|grimp|mypy|mypy_extensions|librt|ast_serialize|pathspec|pytest|pytest-xdist|execnet|iniconfig|pluggy|ruff|scipy-stubs|optype|numpy-typing-compat|types-PyYAML|atheris|fsspec|networkx|sympy|mpmath|filelock|ml_dtypes|cloudpickle|lifelines|autograd|autograd-gamma|formulaic|interface_meta|wrapt|pandas|pytz|matplotlib|contourpy|cycler|fonttools|kiwisolver|pyparsing|statsmodels|patsy|dcurves|mlstatkit|tqdm|jinja2|weasyprint|brotli|cffi|cssselect2|pycparser|pydyf|pyphen|tinycss2|tinyhtml5|webencodings|zopfli)==' "$1"

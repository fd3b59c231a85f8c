"""All settings are in pyproject.toml; this says what is wrong before pip downloads gigabytes: of a
folder, it looks at `requires-python` only when it has collected what the package depends on."""

import sys

from setuptools import setup

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "Assay needs Python 3.11 or newer; this is {}.{}. Make the environment with a newer one, "
        "such as: python3.12 -m venv .venv".format(*sys.version_info)
    )
setup()

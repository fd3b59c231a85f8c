"""Turns a general language model into a specialist for one job, and proves what it is worth."""

from importlib.metadata import version

__version__ = version("assay")

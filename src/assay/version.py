"""The version of this package, for the rooms that write it down.

They do not import it from `assay` itself, which reaches the facade.
"""

from importlib.metadata import version

VERSION = version("assay")

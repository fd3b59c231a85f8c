"""What applies where nobody has said otherwise, and is shown by the help of commands.

It imports no room: each of those that go by these takes longer to import than help may take.
"""

from typing import Literal

CONFIG_FILE = "assay.yaml"
STATE_FOLDER = ".assay"
IMPORTED_TRACES = "imported-traces"
"""Folder of traces of other programs, in the folder where a command runs or that is served."""
TRACE_PROJECTS = "trace-projects"
"""Folder of projects that work of a server has made of such traces."""
RESCUED = "rescued"
"""Folder of what admins have fetched."""
STARTER_MODEL = "smollm2-135m-instruct"
QUOTA_GB = 50.0
"""Disk space of one project on a server, unless `assay serve --project-quota` says otherwise."""
BATCH_REQUESTS = 4
"""Requests of all batches that a server answers at the same time: half of what an engine answers
here (`generate.llamacpp`), so that whoever asks directly finds a free slot."""
MOST_PROCESSES = 64
"""Processes of one training on Ray."""
StoreResponses = Literal["asked", "unless-refused", "never"]
"""Which responses a server keeps: those with `store: true`, all without `store: false`, none."""
STORE_RESPONSES: StoreResponses = "asked"
"""Unless `assay serve --store-responses` says otherwise."""

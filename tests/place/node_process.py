"""The process of a second node, which `nodes.Node` starts: `ray start` takes 127.0.0.1 for the
address of the machine, and joins nothing that is there.

    python -m tests.place.node_process CLUSTER ADDRESS FOLDER
"""

from __future__ import annotations

import signal
import sys

STORE_BYTES = 80 * 2**20


def main(cluster: str, host: str, folder: str) -> None:
    """Run a node until the process is killed."""
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    wanted = RayParams(
        gcs_address=cluster,
        node_ip_address=host,
        num_cpus=1,
        num_gpus=1,  # Ray believes it
        object_store_memory=STORE_BYTES,
        temp_dir=folder,
        include_log_monitor=False,
    )
    Node(wanted, head=False, shutdown_at_exit=False, spawn_reaper=True)
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])

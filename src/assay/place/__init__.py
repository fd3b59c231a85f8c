"""Where work runs: in this process, or in several on Ray.

ranks.py           what the processes of one training know of each other, and what they add up
workers.py         processes that each do one piece of work after the other
worker_process.py  what runs in such a process
kept.py            what such a process keeps from one piece of work to the next
processes.py       what a place gives, and what is known of it before it is opened
opening.py         opens the place that a project names
ray/               a cluster, ranks and workers on it; the only files that import Ray
around_ray.py      what Ray reads of the process that it is in, and what it would change there
"""

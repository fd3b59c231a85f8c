"""Where work runs: in this process, or in several on Ray.

ranks.py      what the processes of one training know of each other, and what they add up
processes.py  what a place gives, and what is known of it before it is opened
opening.py    opens the place that a project names
ray.py        a cluster, and processes on it; the only file that imports Ray
"""

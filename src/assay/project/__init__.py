"""The facade: a project and everything one does with it, from a notebook or the command line.

import assay

project = assay.open("support")
comparison = project.compare()
print(comparison.verdict.outcome, comparison.verdict.reason)
"""

from assay.project.comparison import Comparison
from assay.project.earlier_run import EarlierRun
from assay.project.estimate import Estimate
from assay.project.files import check_file, import_file, overlap_files
from assay.project.project import Project, open
from assay.project.start.creation import create, create_divided
from assay.project.start.demo import DemoJobs
from assay.project.start.init import Choices, Draft, draft
from assay.project.workspace import Workspace, open_workspace

__all__ = [
    "Choices",
    "Comparison",
    "DemoJobs",
    "Draft",
    "EarlierRun",
    "Estimate",
    "Project",
    "Workspace",
    "check_file",
    "create",
    "create_divided",
    "draft",
    "import_file",
    "open",
    "open_workspace",
    "overlap_files",
]

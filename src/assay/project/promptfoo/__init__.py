"""promptfoo's configurations: one read into a project, a project written as one.

    made = import_config(Path("promptfooconfig.yaml"), Path("support"), progress=progress)
    export_config(open_workspace("support"), Path("promptfoo"))

What has no equal is listed with its place (`made.unsupported`), never left out without a word.
"""

from assay.project.promptfoo.making import PromptfooImport, import_config
from assay.project.promptfoo.writing import PromptfooExport, export_config

__all__ = ["PromptfooExport", "PromptfooImport", "export_config", "import_config"]

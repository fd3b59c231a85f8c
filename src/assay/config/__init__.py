"""The one schema of assay.yaml; the JSON Schema for editors is made from it.

examples.py   data and graders
candidates.py few-shot, documents, prompts, generation
training.py   fine-tuning
names.py      settings that name files, models and variables
routes.py     cascade, router, rules
providers.py  models elsewhere
hosts.py      which hosts are this machine
place.py      in how many processes versions are trained
programs.py   limits for programs
state.py      the database
project.py    the whole, and reading it
yaml_text.py  YAML that people edit: problems at their line, changes that keep comments
"""

from assay.config.candidates import (
    STARTER_EMBEDDER,
    Classifier,
    FewShot,
    Generate,
    KnowledgeSection,
    PromptSearch,
    SearchMode,
)
from assay.config.examples import (
    Columns,
    Data,
    GraderSpec,
    Split,
    TaskKind,
    Unlabelled,
    join_names,
    labels_in,
    split_names,
)
from assay.config.place import Place
from assay.config.project import (
    Config,
    Costs,
    config_schema,
    config_text,
    load_config,
    parsed_config,
    read_config,
)
from assay.config.providers import (
    REMOTE,
    Provider,
    RemoteModel,
    TokenPrice,
    Vllm,
    is_remote,
    split_reference,
)
from assay.config.routes import RouteConditions, RouteRule, RouteSection
from assay.config.state import State
from assay.config.strict import Strict
from assay.config.training import Auto, FineTune, FineTuneSection, TrainingSettings
from assay.defaults import CONFIG_FILE, STARTER_MODEL, STATE_FOLDER

__all__ = [
    "CONFIG_FILE",
    "REMOTE",
    "STARTER_EMBEDDER",
    "STARTER_MODEL",
    "STATE_FOLDER",
    "Auto",
    "Classifier",
    "Columns",
    "Config",
    "Costs",
    "Data",
    "FewShot",
    "FineTune",
    "FineTuneSection",
    "Generate",
    "GraderSpec",
    "KnowledgeSection",
    "Place",
    "PromptSearch",
    "Provider",
    "RemoteModel",
    "RouteConditions",
    "RouteRule",
    "RouteSection",
    "SearchMode",
    "Split",
    "State",
    "Strict",
    "TaskKind",
    "TokenPrice",
    "TrainingSettings",
    "Unlabelled",
    "Vllm",
    "config_schema",
    "config_text",
    "is_remote",
    "join_names",
    "labels_in",
    "load_config",
    "parsed_config",
    "read_config",
    "split_names",
    "split_reference",
]

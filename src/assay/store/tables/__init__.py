"""The tables. A change here needs a migration in `migrations/versions/` (a test compares both).

base.py           what every table has in common
agents.py         agents, what they were measured on, and what a folder remembers
jobs.py           long work, fine-tunings, and the files that clients bring
evals.py          evals and their runs
conversations.py  responses that are kept, and conversations
releases.py       releases and their traces
contents.py       trained versions and blobs whose bytes are in a bucket
knowledge.py      documents and their index
access.py         keys, people, providers, and what they spend
"""

from assay.store.tables.access import (
    ApiKeyRow,
    AuditRow,
    BudgetLeaseRow,
    BudgetRow,
    ConsentRow,
    ProviderRow,
    RequestLeaseRow,
    SecretRow,
    SessionRow,
    SignInRow,
    UsageRow,
    UserRow,
)
from assay.store.tables.agents import (
    AgentRow,
    AgentTextRow,
    AgentVersionRow,
    ComparisonRow,
    DraftedQuestionRow,
    OpeningRow,
    SettingRow,
)
from assay.store.tables.base import Table, UtcDateTime, exactly_now, now
from assay.store.tables.completions import ChatCompletionRow
from assay.store.tables.contents import BlobRow, SharedFileRow, TrainedVersionRow
from assay.store.tables.conversations import ConversationItemRow, ConversationRow, ResponseRow
from assay.store.tables.evals import EvalRow, EvalRunRow
from assay.store.tables.jobs import (
    BatchRow,
    FileRow,
    FineTuningCheckpointRow,
    FineTuningRow,
    JobEventRow,
    JobRow,
    ServedNameRow,
    UnnamedObjectRow,
    UploadPartRow,
    UploadRow,
)
from assay.store.tables.knowledge import (
    KnowledgeBaseRow,
    KnowledgeBuildRow,
    KnowledgeDocumentRow,
    KnowledgeFailureRow,
    VectorStoreFileRow,
    VectorStoreRow,
)
from assay.store.tables.releases import ReleaseRow, TraceLabelRow, TracePolicyRow, TraceRow

__all__ = [
    "AgentRow",
    "AgentTextRow",
    "AgentVersionRow",
    "ApiKeyRow",
    "AuditRow",
    "BatchRow",
    "BlobRow",
    "BudgetLeaseRow",
    "BudgetRow",
    "ChatCompletionRow",
    "ComparisonRow",
    "ConsentRow",
    "ConversationItemRow",
    "ConversationRow",
    "DraftedQuestionRow",
    "EvalRow",
    "EvalRunRow",
    "FileRow",
    "FineTuningCheckpointRow",
    "FineTuningRow",
    "JobEventRow",
    "JobRow",
    "KnowledgeBaseRow",
    "KnowledgeBuildRow",
    "KnowledgeDocumentRow",
    "KnowledgeFailureRow",
    "OpeningRow",
    "ProviderRow",
    "ReleaseRow",
    "RequestLeaseRow",
    "ResponseRow",
    "SecretRow",
    "ServedNameRow",
    "SessionRow",
    "SettingRow",
    "SharedFileRow",
    "SignInRow",
    "Table",
    "TraceLabelRow",
    "TracePolicyRow",
    "TraceRow",
    "TrainedVersionRow",
    "UnnamedObjectRow",
    "UploadPartRow",
    "UploadRow",
    "UsageRow",
    "UserRow",
    "UtcDateTime",
    "VectorStoreFileRow",
    "VectorStoreRow",
    "exactly_now",
    "now",
]

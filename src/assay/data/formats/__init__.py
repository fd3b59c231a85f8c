"""One file per format. Containers (JSONL, JSON, CSV, Parquet, XLSX, hub) give records; shapes
(openai-chat, alpaca, ...) turn a record into an example. A new format is one new file and its
line in `shapes.py`.
"""

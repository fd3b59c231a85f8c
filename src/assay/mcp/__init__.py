"""Assay for programs that program: the Model Context Protocol, by the official SDK.

server.py      the tools of a project, put together; errors as one sentence
access.py      in whose name a tool acts, and on which project
texts.py       one line each, without this machine's paths
stdio.py       `assay mcp`: over standard input and output, for a program on this machine
http.py        `/mcp` of `assay serve`: for keys that have the scope `mcp`
start.py       tools: a project from a file
data.py        tools: counts, training examples, an estimate
jobs.py        tools: start a comparison or a training, wait, cancel
verdicts.py    tools: comparisons, their verdicts, openings of the holdout
agents.py      tools: agents, a changed prompt, a try on validation
releases.py    tools: releases, a promotion proposed
skill.py       SKILL.md: what a coding agent should know before it uses them

No tool shows a row of the holdout, opens it past the owner's limit, or promotes. The SDK is the
extra `assay[mcp]`; only this room imports it.
"""

"""The HTTP API: OpenAI's wire format over what a folder holds."""

"""How a project begins: from a file of examples, from documents, or built in."""

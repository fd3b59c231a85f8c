"""A package, so that tests can share what they script: `from tests.evaluate.scripted import …`."""

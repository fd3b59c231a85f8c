"""One file a client: what a program that uses it would do."""

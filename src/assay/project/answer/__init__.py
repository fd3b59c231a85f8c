"""From a name and a conversation to an answer: names, the gateway, the playground."""

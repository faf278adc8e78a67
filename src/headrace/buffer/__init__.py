"""The durable buffer: a push is appended here before it is acknowledged, and then is a log like any other."""

"""Bytes → frames: one module per format."""

"""The graph of artifacts, the job that makes one, and how artifacts are shared.

May import: core, data, config.
"""

"""The shape of an experiment: one module a section, and the words for what is refused.

May import: core, data.
"""

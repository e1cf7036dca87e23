"""Generators of texts whose best attainable accuracy is known.

May import: core.
"""

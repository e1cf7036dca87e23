"""Texts and what is made of them: sources, splits, training targets, documents, read answers.

May import: core.
"""

"""What every room stands on: files and their schemas, hashes, manifests, locks, signals, errors.

May import: nothing else of this package.
"""

"""Associations with peers; the only package that imports pynetdicom."""

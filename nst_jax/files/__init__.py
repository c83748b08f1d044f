"""Bytes on disk: whole files, locks, images."""

"""Invented landmarks and their photos: textures painted by code, seen through a pinhole camera."""

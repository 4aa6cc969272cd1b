"""Frames to another host: who is meant, the ssh that gets there, and what goes through it."""

"""Copies of logs in other directories: leaders, followers, and what happens when one is lost."""

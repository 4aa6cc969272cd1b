"""The proof of what mk promises: what counts as an anomaly, what was struck how often, and the one command that runs it all."""

"""`mk serve --stdio`: one log directory for one client, who is never trusted."""

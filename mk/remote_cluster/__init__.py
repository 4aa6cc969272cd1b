"""The cluster that is a log directory on another host: what producers and consumers ask of a topic, asked through ssh."""

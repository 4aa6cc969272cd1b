"""The definition of each command, in a module for each first word: a start of mk loads only its own."""

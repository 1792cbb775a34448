"""Where frames come from: one file per kind of source; each gives blocks for a session."""

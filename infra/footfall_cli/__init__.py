"""The `footfall` command and the embedded stack."""

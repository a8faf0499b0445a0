"""The documentation site: its pages, and what builds it."""

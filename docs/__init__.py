"""The documentation site: pages in Markdown, and what builds them (`python -m docs build`)."""

"""Exact theory, computed apart from the networks: where they agree, that is evidence."""

from . import dense as dense, sequential as sequential

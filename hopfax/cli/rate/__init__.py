"""The commands of firing-rate memories."""

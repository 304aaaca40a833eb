"""Annotation tools: responses go there to be labelled, and their labels come back."""

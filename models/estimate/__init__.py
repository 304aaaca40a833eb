"""Accuracy estimators: from the responses of one domain in one window to an accuracy with an interval."""

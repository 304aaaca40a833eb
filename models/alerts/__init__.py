"""Alerts with a life: from the first evidence to the end, under one identity; and what a person is to do about each."""

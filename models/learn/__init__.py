"""The learner of a context: a committee that learns from labels, predicts responses, and estimates their domains."""

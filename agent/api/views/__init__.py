"""What each operation answers: a function of the store, the question and what the settings say of targets."""

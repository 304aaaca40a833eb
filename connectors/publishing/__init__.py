"""The table of outputs, the encoder of messages, and the contract for other programs."""

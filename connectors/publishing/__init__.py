"""From outputs to messages, and the contract that describes them to other programs."""

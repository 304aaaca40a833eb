"""Topics of traffic without domains, found online in embeddings of prompts."""

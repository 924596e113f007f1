"""From the outbox to the tracking server, in a thread of its own."""

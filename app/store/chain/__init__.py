"""The chain side's tables: how far it was read, what it said, what follows from that, and what we send to it."""

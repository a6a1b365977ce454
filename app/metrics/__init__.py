"""The public figures of the network and the rollups they are read from."""

"""The node worker over real HTTP, against a server of the node API's contract."""

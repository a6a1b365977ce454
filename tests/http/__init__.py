"""The HTTP surface, driven through the application and over real sockets."""

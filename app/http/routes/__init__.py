"""Routes by area. Thin: read the request, call a tool or a service, shape the answer."""

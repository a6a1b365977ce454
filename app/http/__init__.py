"""The only Litestar: the server, routes by area, security, problem+json and the pages.

Routes decode, authorise and call a tool or a service; they hold no rules of the domain.
"""

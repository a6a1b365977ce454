"""The API reference pages: three viewers of one OpenAPI document, their assets shipped in the package."""

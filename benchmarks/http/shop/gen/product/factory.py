"""Rows of products for tests, generated from resources/product/schema.py. Do not edit."""

from typing import Any

from forge_min.testing import Factory

from .model import ProductRow


class ProductFactory(Factory[ProductRow]):
    """Makes rows of products: create(), create_many(n), build()."""

    topic = "products"

    def defaults(self, n: int) -> dict[str, Any]:
        """A value for every field that a create must give. n counts the rows."""
        return {
            "name": f"name {n}",
            "price": n % 2147483648,
            "status": 'active',
        }

"""Rows of products for tests, generated from resources/product/schema.py. Do not edit."""

from typing import Any

from forge_min.testing import Factory

from .model import ProductRow


class ProductFactory(Factory[ProductRow]):
    """Makes rows of products: create(), create_many(n). build() returns only the data."""

    topic = "products"

    def defaults(self, n: int) -> dict[str, Any]:
        """Return a value for each required field. n: the number of the row."""
        return {
            "name": f"name {n}",
            "price": n % 2147483648,
            "status": 'active',
        }

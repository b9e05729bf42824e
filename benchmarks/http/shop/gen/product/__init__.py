"""Product, generated from resources/product/schema.py. Do not edit: the next `forge-min generate` replaces it."""

from .actions import ProductActions
from .model import ProductCreate, ProductFilter, ProductRow, ProductUpdate, to_json
from .resource import RESOURCE

__all__ = [
    "RESOURCE",
    "ProductActions",
    "ProductCreate",
    "ProductFilter",
    "ProductRow",
    "ProductUpdate",
    "to_json",
]

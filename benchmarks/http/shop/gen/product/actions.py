"""The actions of Product, generated from resources/product/schema.py. Do not edit: rules of yours go into resources/product/actions.py."""

from forge_min.actions import Actions

from .model import ProductRow
from .resource import RESOURCE


class ProductActions(Actions[ProductRow]):
    """list, get, create, update, delete and create_many of products."""

    resource = RESOURCE

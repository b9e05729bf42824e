"""forge_min: resource schemas in, a running application out. This file holds the version only."""

__version__ = "0.1.0"

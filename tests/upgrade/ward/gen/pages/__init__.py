"""The pages, compiled. Generated: do not edit."""

"""The DDL of the forge_ tables: files `NNNN_name.sql` of the migration source "forge"."""

__all__: list[str] = []

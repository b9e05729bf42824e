"""Maintenance that one worker, the leader, does for all: schedules, rescue, retention, counts."""

__all__: list[str] = []

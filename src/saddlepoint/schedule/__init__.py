"""Schedules: numbers as functions of the images shown."""

"""Programs that measure this one and print figures."""

"""Models published, promoted and rolled back, and their way to and from the Hub; serving reads with `nets.registry`."""

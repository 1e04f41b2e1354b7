"""Loopback servers: they speak the real protocols over real sockets, with small worlds in place of large models."""

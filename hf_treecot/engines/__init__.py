"""Engines: whoever writes the thoughts, behind one method."""
